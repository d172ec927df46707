"""The database's schema, as numbered steps; a released step is never changed.

Each is plain SQL, so that it does not change when `models` does. ``{serial}`` is the database's
way of numbering rows.
"""

from __future__ import annotations

import time

from keiji.errors import StoreTooNew, StoreUnavailable
from keiji.store.engine import Engine

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
_MIGRATION = "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, applied BIGINT NOT NULL)"


def check(engine: Engine) -> None:
    """Raise `StoreTooNew`, or `StoreUnavailable` for a database that has to be migrated first."""
    found = _version(engine)
    if found < LATEST:
        command = "keiji system update" if found else "keiji init"
        raise StoreUnavailable(
            f"the database {engine.where} is older than this keiji: `{command}` brings it up to date"
        )


def migrate(engine: Engine) -> int:
    """Bring the schema up to date and return how many steps that took; raises `StoreTooNew`.

    Each step is one transaction that looks again when it has the write lock, so two processes may start
    at once and either may be killed.
    """
    missing = range(_version(engine) + 1, LATEST + 1)
    return sum(_apply(engine, number) for number in missing)


def _version(engine: Engine) -> int:
    """The number of the last step that was applied; 0 for an empty database; raises `StoreTooNew`."""
    try:
        found = int(engine.ask("SELECT max(number) FROM migration")[0][0])
    except StoreUnavailable as error:
        if "no such table" not in str(error.__cause__):
            raise
        return 0
    if found > LATEST:
        raise StoreTooNew(
            f"the database {engine.where} was written by a newer keiji (schema {found}, this one knows "
            f"{LATEST}): upgrade keiji"
        )
    return found


def _apply(engine: Engine, number: int) -> bool:
    with engine.writing(durable=True) as database:
        database.execute_sql(_MIGRATION)
        query = f"SELECT 1 FROM migration WHERE number = {database.param}"
        if database.execute_sql(query, (number,)).fetchone():
            return False  # another process was faster
        for statement in MIGRATIONS[number]:
            database.execute_sql(statement.replace("{serial}", _SERIAL))
        insert = f"INSERT INTO migration (number, applied) VALUES ({database.param}, {database.param})"
        database.execute_sql(insert, (number, time.time_ns() // 1000))
    return True
