"""SQLite: one file in the system folder, one machine's. Reading needs `sqlite3` alone."""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from keiji.errors import StoreUnavailable
from keiji.remedies import word
from keiji.store.engine import Engine, NoTable, load_peewee

_PAUSE = 0.01
_MEANINGS = {
    "locked|busy": "{where} is being written by another program: try again ({who})",
    "full": "the disk that holds {where} is full: free some space on it",
    "readonly|read-only": "{where} cannot be written: check its owner and mode",
    "unable to open": "{where} cannot be opened: `keiji init` makes it where it is missing; "
    "else check its owner and mode, and that its disk takes more files",
    "disk i/o": "the disk that holds {where} fails or is full: free some space on it, "
    "and look at the system's log",
    "malformed|not a database": "{where} is damaged: move it away, then `keiji init` "
    "and `keiji task build --all` make a new one",
}


class SqliteEngine(Engine):
    """The database in a file."""

    is_shared = False
    words: ClassVar = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "key": "TEXT"}

    def __init__(self, path: Path, patience: float) -> None:
        self.path = path
        self.where = f"the database {path}"
        self.patience = patience
        self._reader: sqlite3.Connection | None = None
        self._writer: Any = None

    def close(self) -> None:
        with self._explaining():
            for connection in (self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._reader = self._writer = None

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._explaining():
            if self._reader is None:
                self._reader = sqlite3.connect(
                    _uri(self.path), uri=True, timeout=self.patience, isolation_level=None
                )
            return self._reader.execute(query, values).fetchall()

    @contextmanager
    def writing(self, durable: bool = False) -> Iterator[Any]:
        """A peewee database in one transaction, which holds the write lock from its beginning.

        One that reads first and asks for the lock later fails at once when another has written since.
        """
        with self._explaining():
            database = self._connected_writer()
            if durable:
                database.execute_sql("PRAGMA synchronous = FULL")
            try:
                with database.atomic("IMMEDIATE"):
                    yield database
            finally:
                if durable:
                    database.execute_sql("PRAGMA synchronous = NORMAL")

    @contextmanager
    def migrating(self) -> Iterator[Any]:
        with self.writing(durable=True) as database:
            yield database

    def create(self) -> None:
        """Make the database file if there is none, readable by its owner alone."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.path.chmod(0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"{self.where} cannot be made ({error.strerror}): check its folder's owner and mode"
            ) from None
        self._use_wal()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn the database's errors into `StoreUnavailable`."""
        try:
            yield
        except _errors() as error:
            raise self._explained(error) from error

    def _connected_writer(self) -> Any:
        if self._writer is None:
            self._writer = load_peewee().SqliteDatabase(
                _uri(self.path),
                uri=True,
                timeout=self.patience,
                pragmas={"foreign_keys": 1, "synchronous": "NORMAL"},
            )
        return self._writer

    def _use_wal(self) -> None:
        """Have readers not wait for writers.

        SQLite refuses at once, whatever the timeout, when two processes switch at the same moment, so
        this asks again.
        """
        deadline = time.monotonic() + self.patience
        while True:
            try:
                self.ask("PRAGMA journal_mode = WAL")
                return
            except StoreUnavailable as error:
                if "locked" not in str(error.__cause__) or time.monotonic() > deadline:
                    raise
            time.sleep(_PAUSE)

    def _explained(self, error: BaseException) -> StoreUnavailable:
        said = str(error).strip().partition("\n")[0]
        if "no such table" in said:
            return NoTable()
        for words, meaning in _MEANINGS.items():
            if any(each in said.lower() for each in words.split("|")):
                return StoreUnavailable(meaning.format(where=self.where, who=_who_has(self.path)))
        return StoreUnavailable(f"{self.where} failed ({said or type(error).__name__}): look at its disk")


def _errors() -> tuple[type[Exception], ...]:
    """peewee translates most of sqlite3's errors, not those of fetching rows."""
    peewee = sys.modules.get("peewee")
    return (sqlite3.Error, peewee.PeeweeException) if peewee else (sqlite3.Error,)


def _who_has(path: Path) -> str:
    """How to find out which program has the file open."""
    if os.path.exists("/proc/locks"):
        return f"`fuser -v {word(path)}`, of the package psmisc, names it"
    return f"`lsof {word(path)}` names it"  # which every Mac has


def _uri(path: Path) -> str:
    """`mode=rw` keeps SQLite from making an empty database where there is none."""
    quoted = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{quoted}?mode=rw"
