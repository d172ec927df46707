"""A PostgreSQL of the tests' own, from Debian's package: in a folder of its own, gone with the tests.

It answers on a Unix socket (everybody is trusted) and on a loopback port (with a password). It is never
root's: under root it is given to another user. `postgres_keeper.py` beside this file removes it when the
tests were killed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from postgres_keeper import PREFIX, kill, postmaster, processes, sweep

USER = "keiji"
PASSWORD = "hunter2 %/@:?#'"  # no message may repeat it; each character of it wants quoting somewhere
DATABASE = "keiji"
_PROGRAMS = ("initdb", "pg_ctl", "psql")
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
full_page_writes = off
autovacuum = off
shared_buffers = 16MB
max_connections = 40
max_wal_senders = 0
wal_level = minimal
"""
_ACCESS = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""


class NotInstalled(Exception):
    """PostgreSQL's server is not on this machine; the message is for the person."""


class Server:
    """A server in a folder of its own; `start` it, and `remove` it at the end.

    `folder` holds its socket, `port` is the loopback port.
    """

    def __init__(self) -> None:
        self._programs = programs()
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))  # a socket's path is a short one
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", Path(__file__).with_name("postgres_keeper.py"), self.folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        self._keeper.stdout.readline()  # it holds the folder
        self.port = _free_port()
        self._owner = _owner()
        if self._owner:
            shutil.chown(self.folder, self._owner["user"], self._owner["group"])
        self._make()

    # -- its life ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, and return when it answers."""
        log = self.folder / "log"
        self._run("pg_ctl", "start", "-w", "-t", "120", "-D", self._data, "-l", log)

    def stop(self, mode: str = "fast") -> None:
        """Stop it as an administrator does: ``smart``, ``fast`` (sessions end) or ``immediate``."""
        self._run("pg_ctl", "stop", "-w", "-t", "120", "-D", self._data, "-m", mode)

    def kill(self) -> None:
        """``kill -9`` of all of it, as the end of the machine would be."""
        kill(self.folder)

    def freeze(self) -> None:
        """SIGSTOP of all its processes: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def cut(self) -> None:
        """End every session but this one, as an administrator may."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

    def remove(self) -> None:
        """Kill it and remove its folder."""
        self._keeper.communicate()

    @property
    def is_running(self) -> bool:
        return postmaster(self.folder) is not None

    # -- its databases ----------------------------------------------------------------------

    def url(self, database: str = DATABASE, **options: str) -> str:
        """By loopback, with the password; `options` are libpq's, such as ``sslmode``."""
        return self.url_at(self.port, database, **options)

    def url_at(self, port: int, database: str = DATABASE, **options: str) -> str:
        """As `url`, through another port of the loopback, such as a `relay.Relay`'s."""
        query = f"?{urlencode(options, quote_via=quote)}" if options else ""
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/{database}{query}"

    def socket_url(self, database: str = DATABASE, **options: str) -> str:
        """By the Unix socket, without a password."""
        query = urlencode({"host": str(self.folder), "port": self.port, **options}, quote_via=quote)
        return f"postgresql://{USER}@/{database}?{query}"

    def new_schema(self, name: str) -> str:
        """Make an empty schema of that name; the URL that has keiji's tables lie in it."""
        self.sql(f'CREATE SCHEMA "{name}" AUTHORIZATION {USER}', DATABASE)
        return self.url(options=f"-csearch_path={name}")

    def new_database(self, name: str) -> str:
        """Make an empty database of that name; its URL."""
        self.sql(f'CREATE DATABASE "{name}" OWNER {USER}')
        return self.url(name)

    def sql(self, statements: str, database: str = "postgres") -> list[list[str]]:
        """The rows that the statements answer, as an administrator; NULL and the empty text are alike."""
        command = ["-XAtq", "-F\x1f", "-vON_ERROR_STOP=1", "-h", self.folder, "-p", self.port, "-U", "admin"]
        output = self._run("psql", *command, "-d", database, "-c", statements)
        return [line.split("\x1f") for line in output.splitlines()]

    # -- parts ------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make(self) -> None:
        options = [
            "-U",
            "admin",
            "-E",
            "UTF8",
            "--locale=C",
            "--auth=trust",
            "--no-sync",
            "--no-instructions",
        ]
        self._run("initdb", "-D", self._data, *options)
        configuration = _CONFIGURATION.format(port=self.port, folder=self.folder)
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(configuration)
        (self._data / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        self.start()
        password = PASSWORD.replace("'", "''")
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{password}'")
        self.sql(f"CREATE DATABASE {DATABASE} OWNER {USER}")

    def _run(self, program: str, *arguments: object) -> str:
        # To a file: a server that pg_ctl started keeps a pipe open for as long as it lives.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            done = subprocess.run(
                [self._programs / program, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                check=False,
                **self._owner,
            )
            said.seek(0)
            output = said.read()
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {output}\n{log.read_text()[-2000:] if log.exists() else ''}")
        return output

    def _signal(self, number: int) -> None:
        main = postmaster(self.folder)
        assert main is not None, "the server is not running"
        for pid in processes(main):
            with suppress(ProcessLookupError):  # a session or a helper may end meanwhile
                os.kill(pid, number)


def programs() -> Path:
    """The folder of the newest installed server's programs; raises `NotInstalled`."""
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if _is_whole(path)]
    if not found:
        raise NotInstalled(
            "there is no PostgreSQL server: install the package postgresql (`make setup` does)"
        )
    return max(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.parent.name)])


def _is_whole(folder: Path) -> bool:
    return all((folder / name).exists() for name in _PROGRAMS)


def _owner() -> dict[str, Any]:
    """As whom its programs run: root may not."""
    if os.getuid():
        return {}
    import grp
    import pwd

    names = {user.pw_name: user for user in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_name, "group": grp.getgrgid(user.pw_gid).gr_name, "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: Sequence[str]) -> int:
    """``postgres.py CMD...``: runs CMD with the URL of a server of its own in KEIJI_TEST_POSTGRES."""
    server = Server()
    try:
        return subprocess.call(list(arguments), env={**os.environ, "KEIJI_TEST_POSTGRES": server.url()})
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
