"""The database behind the store, whichever it is: what the store needs of it."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from keiji.errors import StoreUnavailable
from keiji.settings import Settings

PATIENCE = 10.0  # seconds to wait for another process's write
_DRIVERS = ("psycopg", "psycopg2", "psycopg2cffi", "pymysql", "MySQLdb", "pysqlite2", "pysqlite3")


class NoTable(StoreUnavailable):
    """The database has none of keiji's tables."""


class Conflict(StoreUnavailable):
    """Another transaction came in between: this one changed nothing and may be tried again."""


class Engine:
    """One database, connected when it is first used.

    `where` names it in messages. `is_shared`: other machines may keep their rows in it. Every method may
    raise `StoreUnavailable`. Reading needs the database's driver alone; peewee, which takes as long to load
    as Python takes to start four times, is loaded by the first write.
    """

    is_shared: ClassVar[bool]
    words: ClassVar[dict[str, str]]  # what differs in the schema's statements
    where: str

    def close(self) -> None:
        """Let the database go; a later question connects again."""
        raise NotImplementedError

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a SELECT answers; ``?`` stands for each value."""
        raise NotImplementedError

    def writing(self, durable: bool = False) -> AbstractContextManager[Any]:
        """A peewee database in one transaction.

        `durable`: the commit is on the disk when this returns, for callers who then remove the source.
        """
        raise NotImplementedError

    def migrating(self) -> AbstractContextManager[Any]:
        """As `writing`, durable, and alone: who else migrates waits, on whatever machine."""
        raise NotImplementedError

    def create(self) -> None:
        """Make what `keiji init` has to make before there can be tables."""
        raise NotImplementedError


def engine_of(settings: Settings, patience: float) -> Engine:
    """The engine of the database that the settings name; nothing is connected yet."""
    if settings.uses_sqlite:
        from keiji.store.sqlite import SqliteEngine

        return SqliteEngine(settings.folders.database, patience)
    from keiji.store.postgres import PostgresEngine

    return PostgresEngine(settings, patience)


def load_peewee() -> Any:
    """peewee without the drivers that it tries one after another.

    psycopg2 alone, where it is installed, takes longer to load than Python takes to start, and SQLite
    needs none of them.
    """
    hidden = [name for name in _DRIVERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes `import` fail at once
    try:
        import peewee
    finally:
        for name in hidden:
            sys.modules.pop(name, None)
    return peewee
