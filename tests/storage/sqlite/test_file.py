"""The guards of a SQLite file: who has it open, whether it is in its place, and who may read it."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from messagelog.storage.database import migrate
from messagelog.storage.sqlite import file as sqlite_file
from messagelog.storage.sqlite.file import (
    FileInUse,
    FileReplaced,
    RestoreUnfinished,
    exclusive_lock,
    hold,
    holding,
    make_private,
    make_private_folder,
    serve_alone,
)
from storage.files import journal_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "journal.sqlite"
    made.touch()
    return made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that waits for no other."""
    monkeypatch.setattr(sqlite_file, "_PATIENCE_SECONDS", 0)


@contextmanager
def process(program: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, which prints a line when it has done what the program says, and then waits."""
    text = f"{program}\nprint('done', flush=True)\nimport time\ntime.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "done\n"
        try:
            yield started
        finally:
            started.kill()


HOLDS = """
from pathlib import Path
from messagelog.storage.sqlite.file import hold, serve_alone
server = serve_alone(Path({path!r}))
held = hold(Path({path!r}))
"""


# ---------------------------------------------------------------------------------------------- locks


def test_any_number_of_processes_hold_a_file(path: Path) -> None:
    with process(HOLDS.format(path=str(path))), holding(path), holding(path):
        pass


def test_a_file_that_is_held_is_restored_by_none(path: Path) -> None:
    with holding(path), pytest.raises(FileInUse, match=r"has the database .* open"), exclusive_lock(path):
        pass
    with exclusive_lock(path):
        pass


def test_a_file_that_is_being_restored_is_held_by_none(path: Path, impatient: None) -> None:
    with exclusive_lock(path), pytest.raises(FileInUse, match="is being restored, or checked"):
        hold(path)
    hold(path).release()


def test_one_server_has_a_file(path: Path) -> None:
    with process(HOLDS.format(path=str(path))) as server:
        with pytest.raises(FileInUse, match=rf"Another server \(process {server.pid}\) has the database"):
            serve_alone(path)
        server.send_signal(signal.SIGKILL)
        server.wait()
        with serve_alone(path), pytest.raises(FileInUse, match=rf"process {os.getpid()}\)"):
            serve_alone(path)
    with serve_alone(path):
        pass


def test_a_killed_process_leaves_nothing_in_the_way(path: Path) -> None:
    with process(HOLDS.format(path=str(path))) as server:
        with pytest.raises(FileInUse), exclusive_lock(path):
            pass
        server.send_signal(signal.SIGKILL)
        server.wait()
        with exclusive_lock(path):
            pass


def test_a_program_that_knows_nothing_of_the_locks_is_noticed(tmp_path: Path) -> None:
    path = journal_file(tmp_path / "journal.sqlite")
    opens = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('PRAGMA user_version').fetchall()"
    with (
        process(opens),
        pytest.raises(FileInUse, match=r"Another program has the database .* open, such as sqlite3"),
        exclusive_lock(path),
    ):
        pass
    with exclusive_lock(path):
        pass


def test_a_symbolic_link_is_the_file_that_it_leads_to(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.symlink_to(path)
    with holding(link), pytest.raises(FileInUse), exclusive_lock(path):
        pass
    assert [each.name for each in link.parent.iterdir()] == ["link.sqlite"]


# ------------------------------------------------------------------------------------------- its place


@pytest.mark.parametrize("happened", ["replaced", "deleted"])
def test_a_file_that_is_not_in_its_place_is_noticed(path: Path, happened: str) -> None:
    with holding(path) as held, capture_logs() as events:
        held.check()
        if happened == "replaced":
            other = path.with_name("other")
            other.touch()
            other.replace(path)
        else:
            path.unlink()
        for _ in range(3):
            with pytest.raises(FileReplaced, match=f"was {happened} while this process had it open"):
                held.check()
    assert events == [
        {"event": "database_replaced", "file": str(path), "happened": happened, "log_level": "error"}
    ]


def test_a_working_directory_that_changes_is_no_replacement(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with holding(path.relative_to(tmp_path)) as held:
        monkeypatch.chdir("/")
        held.check()


@pytest.mark.parametrize("happened", ["replaced", "deleted"])
def test_a_file_is_not_opened_beside_those_who_have_the_one_before(path: Path, happened: str) -> None:
    """The log beside it is theirs."""
    with holding(path):
        path.rename(path.with_name("before"))
        if happened == "replaced":
            path.touch()
        with pytest.raises(FileReplaced, match=f"was {happened} while another process has it open"):
            hold(path)
    hold(path).release()


def test_a_file_whose_restore_was_cut_off_is_not_opened(path: Path) -> None:
    path.with_name("journal.sqlite-restore").touch()
    with pytest.raises(RestoreUnfinished, match="Run `messagelog restore` again"):
        hold(path)


# --------------------------------------------------------------------------------------- who may read it


@pytest.fixture(params=[0, 0o022, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.rglob("*")}


def test_a_database_and_all_that_is_made_for_it_is_private(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a" / "journal.sqlite"
    path.parent.parent.mkdir(exist_ok=True)
    migrate(f"sqlite:///{path}")
    with serve_alone(path), holding(path), closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE x (y)")
        found = modes(tmp_path)
    assert found.pop("a") == 0o700
    assert found.keys() == {f"journal.sqlite{suffix}" for suffix in ("", "-wal", "-shm", "-lock", "-server")}
    assert set(found.values()) == {0o600}


def test_a_database_that_others_could_read_is_private_from_then_on(tmp_path: Path) -> None:
    path = journal_file(tmp_path / "journal.sqlite")
    path.chmod(0o644)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE x (y)")
        assert modes(tmp_path)["journal.sqlite-wal"] == 0o644
        hold(path).release()
        assert set(modes(tmp_path).values()) == {0o600}


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    make_private_folder(tmp_path / "shared")
    make_private_folder(tmp_path / "shared" / "own" / "leaf")
    assert modes(tmp_path)["shared"] == 0o755
    assert modes(tmp_path)["leaf"] == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_makes_belongs_to_whom_the_database_belongs(tmp_path: Path) -> None:
    """So that a command that root has run keeps no server from its files."""
    os.chown(tmp_path, 12_345, 12_346)
    path = tmp_path / "journal.sqlite"
    make_private(path)
    with serve_alone(path), holding(path):
        assert {(each.stat().st_uid, each.stat().st_gid) for each in tmp_path.iterdir()} == {(12_345, 12_346)}
    assert len(list(tmp_path.iterdir())) == 3
