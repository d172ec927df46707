"""The database's schema, as numbered steps; a released step is never changed.

Each is plain SQL, so that it does not change when `models` does. ``{serial}`` is the database's
way of numbering rows, ``{key}`` its type of text that is compared byte by byte.
"""

from __future__ import annotations

import time

from keiji.errors import StoreTooNew, StoreUnavailable
from keiji.store.engine import Engine, NoTable

# Times are whole microseconds since the Unix epoch: exact, and they sort.
MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        """CREATE TABLE task (
            id {serial},
            task_id TEXT NOT NULL UNIQUE,
            host {key} NOT NULL,
            slug {key} NOT NULL,
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
            host {key} NOT NULL,
            id {key} NOT NULL,
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
    # Whose the rows of a name are, where machines share a database; see `hosts`.
    2: (
        """CREATE TABLE host (
            name {key} PRIMARY KEY,
            installation {key} NOT NULL UNIQUE,
            machine TEXT NOT NULL
        )""",
    ),
}
LATEST = max(MIGRATIONS)

_MIGRATION = "CREATE TABLE IF NOT EXISTS migration (number INTEGER PRIMARY KEY, applied BIGINT NOT NULL)"


def check(engine: Engine, may_migrate: bool) -> None:
    """Have the database be of this program's version; raises `StoreTooNew`, `StoreUnavailable`.

    An older one is brought up to date, unless the caller may only look. A SQLite file without tables is
    none that `keiji init` made, and stays as it is.
    """
    found = _version(engine)
    if found == LATEST:
        return
    if may_migrate and (found or engine.is_shared):
        if not found:
            engine.create()
        migrate(engine)
        return
    if not found:
        raise StoreUnavailable(f"{engine.where} has none of keiji's tables: `keiji init` makes them")
    raise StoreUnavailable(
        f"{engine.where} is older than this keiji: `keiji system update` brings it up to date"
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
        found = int(engine.ask("SELECT max(number) FROM migration")[0][0] or 0)
    except NoTable:
        return 0
    if found > LATEST:
        raise StoreTooNew(
            f"{engine.where} was written by a newer keiji (schema {found}, this one knows {LATEST}): "
            "upgrade keiji"
        )
    return found


def _apply(engine: Engine, number: int) -> bool:
    with engine.migrating() as database:
        database.execute_sql(_MIGRATION)
        query = f"SELECT 1 FROM migration WHERE number = {database.param}"
        if database.execute_sql(query, (number,)).fetchone():
            return False  # another process was faster
        for statement in MIGRATIONS[number]:
            for word, meaning in engine.words.items():
                statement = statement.replace("{" + word + "}", meaning)
            database.execute_sql(statement)
        insert = f"INSERT INTO migration (number, applied) VALUES ({database.param}, {database.param})"
        database.execute_sql(insert, (number, time.time_ns() // 1000))
    return True
