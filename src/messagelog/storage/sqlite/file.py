"""Guards a SQLite file: which processes have it open, whether it is still in its place, and who may read it.

Beside a file `journal.sqlite` stand two small files whose locks say who uses it. The kernel ends a lock together with
its process, so a `kill -9` leaves nothing in the way; the files themselves stay and mean nothing.

- `journal.sqlite-lock` is locked by every process that has the journal open, shared with others, and by a restore
  alone. Its text is the device and the inode of the file that they have open.
- `journal.sqlite-server` is locked by the one server of the file. Its text is the server's process id.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from messagelog.storage.sqlite.wal import check_log
from messagelog.storage.store import UnusableFile

if sys.platform != "win32":  # there a file is guarded by no lock
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700

BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file; it belongs to that file alone."""

_PATIENCE_SECONDS: Final = 10.0  # longer than another process takes to open the file
_PAUSE_SECONDS: Final = 0.02
_SHARED_FIRST: Final = 0x4000_0002  # where every SQLite connection locks a file that it has open
_SHARED_SIZE: Final = 510

_log = structlog.get_logger(__name__)


class FileInUse(UnusableFile):
    """Another process has the file."""


class FileReplaced(UnusableFile):
    """The file was deleted, or another one took its place, while a process had it open."""


class RestoreUnfinished(UnusableFile):
    """A restore of the file was cut off after it had begun to remove the old one."""


class HeldFile:
    """A database's file that this process has open. Make one with `hold`, and `release` it in the end."""

    def __init__(self, path: Path, identity: str, lock: int) -> None:
        self._path = path
        self._identity = identity
        self._lock = lock
        self._reported = False

    def check(self) -> None:
        """Raise `FileReplaced` when the file is not in its place any more. Takes about two microseconds."""
        found = _identity(self._path)
        if found == self._identity:
            return
        happened = "deleted" if found is None else "replaced"
        if not self._reported:
            self._reported = True
            _log.error("database_replaced", file=str(self._path), happened=happened)
        raise FileReplaced(f"The database {self._path} was {happened} while this process had it open.")

    def release(self) -> None:
        """Let go of the file. Its connections must be closed before."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


@contextlib.contextmanager
def holding(path: Path) -> Iterator[HeldFile]:
    """Hold a file for a while. Raises as `hold` does."""
    held = hold(path)
    try:
        yield held
    finally:
        held.release()


def hold(path: Path) -> HeldFile:
    """Hold a file that is about to be opened, beside other processes. Makes it, empty, where there is none.

    The first process to hold it sees to it that it is private and that a left-over log (WAL) belongs to it.
    Raises `FileInUse` while it is being restored, `FileReplaced` where others still have the file open that was there
    before, `RestoreUnfinished`, and `ForeignLog`.
    """
    path = path.absolute()
    real = real_path(path)
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        lock = _open_lock_file(beside(real, "-lock"), real)
        try:
            identity = _try_hold(real, lock)
        except BaseException:
            os.close(lock)
            raise
        if identity is not None:
            return HeldFile(path, identity, lock)
        os.close(lock)
        if time.monotonic() > until:
            raise FileInUse(f"The database {path} is being restored, or checked, by another process.")
        time.sleep(_PAUSE_SECONDS)


def _try_hold(path: Path, lock: int) -> str | None:
    """Return the identity of the file, once the lock is held with others; None if it has to be tried again."""
    if _lock(lock, alone=True):
        _prepare(path)
        identity = _identity(path) or ""
        _write(lock, identity)
        # The change to a shared lock has a gap, in which a restore may come first.
        if _lock(lock, alone=False) and identity == _identity(path):
            return identity
        return None
    if not _lock(lock, alone=False):
        return None
    recorded, found = _read(lock), _identity(path)
    if recorded != found:
        happened = "deleted" if found is None else "replaced"
        raise FileReplaced(
            f"The database {path} was {happened} while another process has it open. Stop that process first."
        )
    return recorded


def _prepare(path: Path) -> None:
    """Check what stands beside a file that no process has open, and make the file private, or make it at all."""
    if beside(path, "-restore").exists():
        raise RestoreUnfinished(
            f"A restore of the database {path} was cut off. Run `messagelog restore` again: it begins from the start."
        )
    check_log(path)
    make_private(path)


def serve_alone(path: Path) -> contextlib.ExitStack:
    """Be the one server of a file, until the returned stack is closed, or the process ends.

    Raises `FileInUse`, with the other's process id, where there is one already.
    """
    real = real_path(path.absolute())
    with contextlib.ExitStack() as undo:
        lock = _open_lock_file(beside(real, "-server"), real)
        undo.callback(os.close, lock)
        if not _lock(lock, alone=True):
            raise FileInUse(
                f"Another server (process {_read(lock) or 'unknown'}) has the database {path} open. SQLite is for"
                " one server process: stop that one first, or use PostgreSQL, which any number can share."
            )
        _write(lock, str(os.getpid()))
        return undo.pop_all()


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Keep every other process from a file, to put another one in its place. `FileInUse` while one has it open."""
    real = real_path(path.absolute())
    with contextlib.ExitStack() as stack:
        stack.enter_context(serve_alone(path))
        lock = _open_lock_file(beside(real, "-lock"), real)
        stack.callback(os.close, lock)
        if not _lock(lock, alone=True):
            raise FileInUse(
                f"Another process has the database {path} open: a server, or a command of messagelog."
            )
        if real.exists():
            file = os.open(real, os.O_RDWR)
            stack.callback(os.close, file)
            _lock_out_programs(file, path)
        yield


def _lock_out_programs(file: int, path: Path) -> None:
    """Take the lock that any SQLite connection needs, such as that of the program `sqlite3`."""
    if sys.platform == "win32":
        return
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_FIRST)
    except OSError as error:
        raise FileInUse(f"Another program has the database {path} open, such as sqlite3.") from error


def make_private(path: Path, *, like: Path | None = None) -> None:
    """Make a file that only its owner can read and write, or make it so, whatever the umask is.

    What root makes belongs to the owner of `like`, or else of the folder. SQLite gives the files that it makes beside
    a database the database's mode.
    """
    if not path.exists():  # to open and close it would end the locks that this process has on it
        os.close(_open_or_create(path, like or path.parent))
    for each in (path, *(beside(path, suffix) for suffix in BESIDE)):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # not there, or another user's
            if each.stat().st_mode & 0o777 != PRIVATE:
                each.chmod(PRIVATE)


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter. One that is there stays as it is."""
    if not folder.is_dir():
        folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        folder.chmod(PRIVATE_FOLDER)


def flush_folder(folder: Path) -> None:
    """Write the names in a folder to disk: without that a crash may undo a rename."""
    if sys.platform == "win32":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def real_path(path: Path) -> Path:
    """Where a file really is: SQLite puts its own files beside what a symbolic link leads to."""
    return Path(os.path.realpath(path))


def beside(path: Path, suffix: str) -> Path:
    """Return the file in the same folder that has this suffix after its name."""
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> str | None:
    """Return the device and the inode of a file; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half as long as Path.stat takes, and this is asked all the time
    except FileNotFoundError:
        return None
    return f"{found.st_dev}:{found.st_ino}"


def _open_lock_file(lock_file: Path, path: Path) -> int:
    """Open the file to be locked; make it, for the owner of the database, if there is none."""
    lock = _open_or_create(lock_file, path if path.exists() else path.parent)
    with contextlib.suppress(PermissionError):  # another user's
        lock_file.chmod(PRIVATE)
    return lock


def _open_or_create(path: Path, like: Path) -> int:
    """Open a file; make it, for the owner of `like`, if there is none."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        return os.open(path, os.O_RDWR)
    try:
        give_to_owner(file, like)
    except BaseException:
        os.close(file)
        raise
    return file


def give_to_owner(file: int, of: Path) -> None:
    """Give what root has made to the user who owns the database or its folder, so that the server can open it."""
    if sys.platform != "win32" and os.geteuid() == 0:
        owner = of.stat()
        os.fchown(file, owner.st_uid, owner.st_gid)


def _lock(lock: int, *, alone: bool) -> bool:
    """Lock a file without waiting, alone or with others; return whether that was possible."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(lock: int, text: str) -> None:
    os.ftruncate(lock, 0)
    os.lseek(lock, 0, os.SEEK_SET)
    os.write(lock, text.encode())


def _read(lock: int) -> str:
    os.lseek(lock, 0, os.SEEK_SET)
    return os.read(lock, 100).decode()
