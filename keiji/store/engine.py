"""The database behind the store: loading peewee, connecting, and saying what went wrong."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keiji.errors import StoreUnavailable
from keiji.settings import Settings

PATIENCE = 10.0  # seconds to wait for another process's write
_PAUSE = 0.01
_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi", "pymysql", "MySQLdb", "pysqlite2", "pysqlite3")


def _load_peewee() -> Any:
    """peewee without the drivers that it tries one after another: psycopg2 alone, where it is
    installed, takes longer to load than Python takes to start, and SQLite needs none of them."""
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes `import` fail at once
    try:
        import peewee
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    return peewee


peewee = _load_peewee()


class Engine:
    """One database, connected when it is first used, once a thread.

    `where` names the database in messages. Every method raises `StoreUnavailable`.
    """

    def __init__(self, settings: Settings, patience: float) -> None:
        if not settings.uses_sqlite:
            raise StoreUnavailable(
                "DB_URL names a PostgreSQL database, which this release of keiji cannot use yet: "
                f"set DB_URL=default in {settings.folders.settings}"
            )
        self.path = settings.folders.database
        self.where = str(self.path)
        self.patience = patience
        self.database = peewee.SqliteDatabase(
            _uri(self.path),
            uri=True,
            timeout=patience,
            pragmas={"foreign_keys": 1, "synchronous": "NORMAL"},
        )

    def connect(self) -> bool:
        """Connect this thread if it is not connected; says whether it did."""
        with self.explaining():
            return bool(self.database.connect(reuse_if_open=True))

    def close(self) -> None:
        with self.explaining():
            self.database.close()

    def create(self) -> None:
        """Make the database file if there is none, readable by its owner alone."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.path.chmod(0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"the database {self.where} cannot be made ({error.strerror}): "
                "check its folder's owner and mode"
            ) from None
        self.connect()
        self._use_wal()

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """The database for queries that change nothing."""
        with self.explaining():
            yield self.database

    @contextmanager
    def writing(self, durable: bool = False) -> Iterator[Any]:
        """The database in one transaction, which holds the write lock from its beginning.

        One that reads first and asks for the lock later fails at once when another has written since.
        `durable`: the commit is on the disk when this returns, for callers who then remove the source.
        """
        with self.explaining():
            if durable:
                self.database.execute_sql("PRAGMA synchronous = FULL")
            try:
                with self.database.atomic("IMMEDIATE"):
                    yield self.database
            finally:
                if durable:
                    self.database.execute_sql("PRAGMA synchronous = NORMAL")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        try:
            yield
        # Rows are fetched outside of peewee's own translation, so sqlite3's errors come through as well.
        except (peewee.PeeweeException, sqlite3.Error) as error:
            raise StoreUnavailable(self._explain(error)) from error

    def _explain(self, error: Exception) -> str:
        said = str(error).strip().partition("\n")[0]
        for words, meaning in _MEANINGS.items():
            if any(word in said.lower() for word in words.split("|")):
                return meaning.format(where=self.where)
        return f"the database {self.where} failed: {said or type(error).__name__}"

    def _use_wal(self) -> None:
        """Readers don't wait for writers. SQLite refuses at once, whatever the timeout, when two
        processes switch at the same moment, so ask again."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                self.database.execute_sql("PRAGMA journal_mode = WAL")
                return
            except peewee.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise StoreUnavailable(self._explain(error)) from error
            time.sleep(_PAUSE)


_MEANINGS = {
    "locked|busy": "the database {where} is being written by another program: try again "
    "(`fuser {where}` names it)",
    "full": "the disk that holds the database {where} is full: free some space on it",
    "readonly|read-only": "the database {where} cannot be written: check its owner and mode",
    "unable to open": "the database {where} cannot be opened: `keiji init` makes it where it is missing; "
    "else check its owner and mode",
    "malformed|not a database|disk i/o": "the database {where} is damaged: move it away, then `keiji init` "
    "and `keiji task build --all` make a new one",
}


def _uri(path: Path) -> str:
    """`mode=rw` keeps SQLite from making an empty database where there is none."""
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{quoted}?mode=rw"
