"""Makes copies of a SQLite file while servers run, and puts a copy in its place while none does.

Both can be killed at any point. A copy has its name only once it is complete and on disk. A restore leaves the old
database as it was, or is marked as begun; from then on no process opens the file until a restore has ended.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from messagelog.errors import MessagelogError
from messagelog.storage.sqlite.file import (
    BESIDE,
    beside,
    exclusive_lock,
    flush_folder,
    holding,
    make_private,
    make_private_folder,
    real_path,
)
from messagelog.storage.urls import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class BadCopy(MessagelogError):
    """A copy cannot be made, or not be restored. The text names the file and says why."""


class Copy(NamedTuple):
    """What a copy holds: bytes, the schema's version, conversation logs, and the time of the last change (epoch ms)."""

    size: int
    version: str
    logs: int
    changed_at: int | None


def make_copy(path: Path, to: Path) -> Copy:
    """Copy the database at `path`, which may be in use, into a new file that stands by itself.

    Raises `BadCopy` when there is something at `to` already, or the copy is malformed, and whatever `hold` raises.
    """
    if not path.exists():
        raise BadCopy(f"The database {path} does not exist.")
    if to.exists():
        raise BadCopy(f"{to} exists already: give the copy another name.")
    unfinished = beside(to, f".{secrets.token_hex(4)}.part")
    with _partial_file(unfinished, like=to.parent) as part:
        with holding(path), closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as copy:
            copy.execute("PRAGMA synchronous=OFF")  # it is written to disk below, once
            source.backup(copy)  # of one moment: it reads all in one transaction, while others write
        found = _inspect(part, name=to, mode="DELETE")
        _flush(part)
        part.replace(to)
    flush_folder(to.parent)
    return found


def restore_copy(path: Path, file: Path, *, confirm: Callable[[Copy], None]) -> Copy:
    """Put what a copy holds in the place of the database at `path`, and remove what stands beside that.

    `confirm` is called with what the copy holds, before anything is changed; what it raises ends the restore.
    Raises `BadCopy`, and `FileInUse` while any process has the database open.
    """
    if not file.is_file():
        raise BadCopy(f"{file} is not a file.")
    if path.exists() and path.samefile(file):
        raise BadCopy(f"{file} is the database itself.")
    log = beside(file, "-wal")
    if log.exists() and log.stat().st_size:
        raise BadCopy(
            f"{file} has a log beside it, {log.name}, with a part of its content. Make one file of both: run"
            " `messagelog backup` with MESSAGELOG_DATABASE_URL set to it."
        )
    make_private_folder(path.parent)
    real = real_path(path)
    like = real if real.exists() else real.parent
    with exclusive_lock(path), _partial_file(beside(real, "-restoring"), like=like) as part:
        shutil.copyfile(file, part)
        found = _inspect(part, name=file, mode="WAL")
        if found.version > SCHEMA_VERSION:
            raise BadCopy(
                f"{file} was made by a newer version of messagelog (its schema is {found.version})."
            )
        _flush(part)
        confirm(found)
        _put_in_place(real, part)
    return found


def _put_in_place(path: Path, part: Path) -> None:
    """Replace a database, so that a process that is killed leaves no log beside a file that it does not belong to."""
    restored = beside(path, "-restore")
    part.replace(restored)  # from here on, none opens the database
    flush_folder(path.parent)
    for suffix in BESIDE:
        beside(path, suffix).unlink(missing_ok=True)
    flush_folder(path.parent)
    restored.replace(path)
    flush_folder(path.parent)


@contextmanager
def _partial_file(part: Path, *, like: Path) -> Iterator[Path]:
    """Make a private file for the owner of `like`; remove it in the end, if it still has its name."""
    _remove(part)
    make_private(part, like=like)
    try:
        yield part
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    """Remove a file and what SQLite keeps beside it."""
    for each in (path, *(beside(path, suffix) for suffix in BESIDE)):
        each.unlink(missing_ok=True)


def _inspect(part: Path, *, name: Path, mode: str) -> Copy:
    """Check a copy of the file `name`, set its journal mode, and return what it holds. Raises `BadCopy`."""
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        try:
            problems = connection.execute("PRAGMA integrity_check(1)").fetchall()
            if problems != [("ok",)]:
                raise BadCopy(f"{name} is damaged: {problems[0][0]}.")
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if not {"alembic_version", "conversationLogs"} <= tables:
                raise BadCopy(f"{name} holds no journal of messagelog.")
            ((version,),) = connection.execute("SELECT version_num FROM alembic_version")
            ((logs, changed_at),) = connection.execute(
                'SELECT COUNT(*), MAX("updatedAt") FROM "conversationLogs"'
            )
            connection.execute(f"PRAGMA journal_mode={mode}")
        except sqlite3.DatabaseError as error:
            raise BadCopy(f"{name} is damaged, or no SQLite database: {error}.") from error
    return Copy(part.stat().st_size, str(version), logs, changed_at)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
