"""The database's schema, as numbered steps; a released step is never changed.

Each is plain SQL, so that it does not change when `models` does. ``{serial}`` is the database's
way of numbering rows.
"""

from __future__ import annotations

import time
from typing import Any

from keiji.errors import StoreTooNew
from keiji.store.engine import Engine, peewee

# Times are whole microseconds since the Unix epoch: exact, and they sort.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        """CREATE TABLE task (
            id {serial},
            task_id TEXT NOT NULL UNIQUE,
            host TEXT NOT NULL,
            slug TEXT NOT NULL,
            name TEXT NOT NULL,
            description TEXT NOT NULL,
            schedule TEXT NOT NULL,
            build TEXT NOT NULL,
            last_execution BIGINT,
            is_disabled BOOLEAN NOT NULL DEFAULT FALSE,
            is_error BOOLEAN NOT NULL DEFAULT FALSE,
            error_txt TEXT NOT NULL DEFAULT '',
            UNIQUE (host, slug)
        )""",
        """CREATE TABLE run (
            number {serial},
            host TEXT NOT NULL,
            id TEXT NOT NULL,
            task BIGINT NOT NULL REFERENCES task (id) ON DELETE CASCADE,
            trigger TEXT NOT NULL,
            due BIGINT,
            began BIGINT NOT NULL,
            ended BIGINT NOT NULL,
            result TEXT NOT NULL,
            exit_status INTEGER,
            signal INTEGER,
            error TEXT NOT NULL,
            attempts INTEGER NOT NULL,
            cpu_seconds DOUBLE PRECISION,
            peak_memory_bytes BIGINT,
            build TEXT NOT NULL,
            UNIQUE (host, id)
        )""",
        "CREATE INDEX run_of_task ON run (task, began, number)",
    ),
}
LATEST = max(MIGRATIONS)

_SERIAL = "INTEGER PRIMARY KEY AUTOINCREMENT"


def version(database: Any) -> int:
    """The number of the last migration that was applied; 0 for an empty database."""
    try:
        row = database.execute_sql("SELECT max(number) FROM migration").fetchone()
    except peewee.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise
    return row[0] or 0


def migrate(engine: Engine) -> int:
    """Bring the schema up to date and return how many steps that took; raises `StoreTooNew`.

    Each step is one transaction that looks again after it has the write lock, so two processes may
    start at once and either may be killed.
    """
    applied = 0
    with engine.reading() as database:
        refuse_newer(version(database), engine.where)
    for number in sorted(MIGRATIONS):
        with engine.writing(durable=True) as database:
            applied += _apply(database, number)
    return applied


def refuse_newer(found: int, where: str) -> None:
    if found > LATEST:
        raise StoreTooNew(
            f"the database {where} was written by a newer keiji (schema {found}, this one knows {LATEST}): "
            "upgrade keiji"
        )


def _apply(database: Any, number: int) -> int:
    database.execute_sql(
        "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, applied BIGINT NOT NULL)"
    )
    if version(database) >= number:
        return 0
    for statement in MIGRATIONS[number]:
        database.execute_sql(statement.replace("{serial}", _SERIAL))
    database.execute_sql(
        "INSERT INTO migration (number, applied) VALUES (?, ?)", (number, time.time_ns() // 1000)
    )
    return 1
