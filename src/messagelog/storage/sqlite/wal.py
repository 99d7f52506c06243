"""Checks whether a left-over log (WAL) belongs to the SQLite file beside it.

SQLite itself does not: it replays a log with valid checksums onto any file, which is malformed then.
So each of our transactions counts up the file's `user_version`, which stands in its first page, so that each commit in
a log says how many came before it. A log may be replayed onto a file that says as many as the log's first commit
found, or more: such a file holds all that was written before the log began. A copy from an earlier time says fewer.
"""

from __future__ import annotations

import secrets
import shutil
import sqlite3
import struct
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from messagelog.storage.store import UnusableFile

_LOG_HEADER: Final = struct.Struct(">8I")
"""Magic, format, page size, number of checkpoints, two salts, two sums."""
_FRAME_HEADER: Final = struct.Struct(">6I")
"""Number of the page, pages of the file (0 but for the last of a commit), two salts, two sums."""
_FILE_HEADER_BYTES: Final = 100
_MAGIC: Final = 0x377F0682  # the lowest bit tells in which order of bytes the sums are made
_WAL_MODE: Final = 2
_WORD: Final = 0xFFFF_FFFF
_HALF: Final = 1 << 31

_Sums = tuple[int, int]


class ForeignLog(UnusableFile):
    """A log stands beside a file that it does not belong to."""


class _Mark(NamedTuple):
    """What the first page of a file says: how many transactions were counted, and how many changes of the schema."""

    transactions: int
    changes: int

    @classmethod
    def of(cls, page: bytes) -> _Mark:
        return cls(int.from_bytes(page[60:64], "big"), int.from_bytes(page[40:44], "big"))


class _Log(NamedTuple):
    """What SQLite would replay: the size of its pages in bytes, and the marks of the first pages in it, in order."""

    page_size: int
    marks: list[_Mark]


def count_transaction(connection: sqlite3.Connection) -> None:
    """Count the transaction that this connection has just begun."""
    (count,) = connection.execute("PRAGMA user_version").fetchone()
    # A signed number of 32 bits, which goes on with the lowest after the highest.
    following = (count + 1 + _HALF) % (2 * _HALF) - _HALF
    connection.execute(f"PRAGMA user_version={following}")


def begin_counting(connection: sqlite3.Connection) -> None:
    """Begin the count of a file that has none, with a number that is unlikely to be another file's."""
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        connection.execute(f"PRAGMA user_version={1 + secrets.randbelow(_HALF - 1)}")


def check_log(path: Path) -> None:
    """Raise `ForeignLog` when the log beside a file, which no process has open, does not belong to it."""
    beside = path.with_name(f"{path.name}-wal")
    log = _read_log(beside)
    if log is None:
        return
    header = _read_header(path)
    if len(header) < _FILE_HEADER_BYTES:
        raise ForeignLog(f"The database {path} is gone, and its log {beside.name} is there. {_REMEDY}")
    known = log.marks and _Mark.of(header).transactions
    if not _fits(header, log) or (not known and _is_malformed(path, beside)):
        raise ForeignLog(
            f"The log {beside.name} beside the database {path} belongs to another file, or to another time of"
            f" this one: used together they would be damaged. {_REMEDY}"
        )


_REMEDY: Final = (
    "To put a backup in the database's place, run `messagelog restore`, which removes such a log. To do without what"
    " is in the log, move it away."
)


def _fits(header: bytes, log: _Log) -> bool:
    """Return whether a log was begun on the file with this header, as far as they tell."""
    page_size = int.from_bytes(header[16:18], "big")
    if header[18] != _WAL_MODE or log.page_size != (65_536 if page_size == 1 else page_size):
        return False  # such as a finished copy, which is left in another mode
    file = _Mark.of(header)
    if not log.marks or not file.transactions:
        return True
    first, last = log.marks[0], log.marks[-1]
    return (
        _at_most(first.transactions - 1, file.transactions)
        and _at_most(file.transactions, last.transactions)
        and _at_most(file.changes, last.changes)
    )


def _at_most(one: int, other: int) -> bool:
    """Return whether one count is at most the other; both continue with 0 after the highest."""
    return (other - one) & _WORD < _HALF


def _read_header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_HEADER_BYTES)
    except FileNotFoundError:
        return b""


def _read_log(path: Path) -> _Log | None:
    """Return the commits of a log, as SQLite recovers them: up to the first frame with wrong sums.

    Each frame's sums cover all that is before it, so that frames of an earlier use of the log do not count.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        header = file.read(_LOG_HEADER.size)
        if len(header) < _LOG_HEADER.size:
            return None
        magic, _, page_size, _, _, _, first_sum, second_sum = _LOG_HEADER.unpack(header)
        order = ">" if magic & 1 else "<"
        sums = _add_checksum(header[:24], order, (0, 0))
        if magic & ~1 != _MAGIC or sums != (first_sum, second_sum):
            return None
        size = _FRAME_HEADER.size + page_size
        marks: list[_Mark] = []
        of_this_commit: list[_Mark] = []
        commits = 0
        while len(frame := file.read(size)) == size:
            number, pages, _, _, first_sum, second_sum = _FRAME_HEADER.unpack_from(frame)
            page = frame[_FRAME_HEADER.size :]
            sums = _add_checksum(frame[:8] + page, order, sums)
            if sums != (first_sum, second_sum):
                break
            if number == 1:
                of_this_commit.append(_Mark.of(page))
            if pages:
                commits += 1
                marks += of_this_commit
                of_this_commit = []
    return _Log(page_size, marks) if commits else None


def _add_checksum(data: bytes, order: str, sums: _Sums) -> _Sums:
    """Return the sums of a log, with these bytes added (a multiple of eight)."""
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    first, second = sums
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _WORD
        second = (second + odd + first) & _WORD
    return first, second


def _is_malformed(path: Path, log: Path) -> bool:
    """Return whether a file and a log make a malformed database, if one of them has no count.

    Another program wrote it, or an earlier version of this one. It is tried on copies, since opening a database replays
    its log.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f"{path.name}-check-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        with closing(sqlite3.connect(copy)) as connection:
            try:
                return connection.execute("PRAGMA integrity_check(1)").fetchall() != [("ok",)]
            except sqlite3.DatabaseError:
                return True
