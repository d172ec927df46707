"""The tables as peewee knows them, and what is written to them.

Each function takes a peewee database inside a transaction. Only writers load this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from keiji.run import Result, Run
from keiji.store.engine import load_peewee
from keiji.store.rows import (
    FLAGS,
    RUN_COLUMNS,
    TASK_VALUES,
    flags_of,
    microseconds,
    plain,
    row_of,
    schedule_text,
)
from keiji.task import Task

peewee = load_peewee()

# Not `Model` classes: those hold one database each, for all stores of a process.
TASK = peewee.Table("task", (*TASK_VALUES, "slug", *FLAGS))
RUN = peewee.Table("run", ("number", *RUN_COLUMNS))

_ASKED = 500  # ids a statement; SQLite bounds the values of one
_PRUNED = 2000  # rows a transaction, so that others wait for a moment only


def save_task(database: Any, host: str, task: Task) -> None:
    """Insert the task, or update the one of its slug, which keeps its ids, flags and last execution."""
    said = {
        "name": task.name,
        "description": plain(task.description),
        "schedule": schedule_text(task.schedule),
        "build": task.build,
    }
    if not TASK.update(**said).where(_this(host, task.slug)).execute(database):
        flags = dict(zip(FLAGS, flags_of(False, None), strict=True))
        TASK.insert(**said, **flags, host=host, slug=task.slug, task_id=task.task_id).execute(database)


def flag_task(database: Any, host: str, slug: str, flags: tuple[bool, bool, str]) -> None:
    changes = dict(zip(FLAGS, flags, strict=True))
    TASK.update(**changes).where(_this(host, slug)).execute(database)


def delete_task(database: Any, host: str, slug: str) -> bool:
    """Delete the task and, by the database's own rule, its runs; whether there was one."""
    return bool(TASK.delete().where(_this(host, slug)).execute(database))


def record(database: Any, host: str, runs: Iterable[Run]) -> int:
    """Insert the runs that are new and belong to a task that is there; how many that were.

    In plain SQL: for hundreds of rows peewee takes many times as long to build a statement as SQLite to
    carry it out.
    """
    by_id = {run.id: run for run in runs}
    ids = dict(
        database.execute_sql(f"SELECT slug, id FROM task WHERE host = {database.param}", (host,)).fetchall()
    )
    known = _known(database, host, list(by_id))
    fresh = [run for run in by_id.values() if run.task in ids and run.id not in known]
    statement = f"INSERT INTO run ({', '.join(RUN_COLUMNS)}) VALUES ({_marks(database, len(RUN_COLUMNS))})"
    database.cursor().executemany(statement, [row_of(run, host, ids[run.task]) for run in fresh])
    _note_executed(database, ids, fresh)
    return len(fresh)


def prune(database: Any, task: int, since: int, newest: int) -> int:
    """Delete some of the task's runs before `since` (microseconds), but never `newest`; how many."""
    old = RUN.alias("old")
    some = old.select(old.number).where((old.task == task) & (old.began < since) & (old.number != newest))
    return int(RUN.delete().where(RUN.number.in_(some.limit(_PRUNED))).execute(database))


def _this(host: str, slug: str) -> Any:
    return (TASK.host == host) & (TASK.slug == slug)


def _known(database: Any, host: str, ids: list[str]) -> set[str]:
    """Those of the ids that have a row."""
    known: set[str] = set()
    for i in range(0, len(ids), _ASKED):
        some = ids[i : i + _ASKED]
        statement = (
            f"SELECT id FROM run WHERE host = {database.param} AND id IN ({_marks(database, len(some))})"
        )
        known.update(row[0] for row in database.execute_sql(statement, (host, *some)).fetchall())
    return known


def _note_executed(database: Any, ids: dict[str, int], runs: list[Run]) -> None:
    """Note when the tasks were last executed; a firing that was skipped executed nothing."""
    last: dict[str, datetime] = {}
    for run in runs:
        if run.result is not Result.SKIPPED:
            last[run.task] = max(run.began, last.get(run.task, run.began))
    mark = database.param
    statement = (
        f"UPDATE task SET last_execution = {mark} "
        f"WHERE id = {mark} AND (last_execution IS NULL OR last_execution < {mark})"
    )
    rows = [(at := microseconds(began), ids[slug], at) for slug, began in last.items()]
    database.cursor().executemany(statement, rows)


def _marks(database: Any, number: int) -> str:
    return ", ".join([database.param] * number)
