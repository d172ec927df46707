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

_INSERTED = 50  # rows a statement; an old SQLite takes 999 values
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


def delete_all(database: Any, host: str) -> int:
    """Delete every task of the host and its runs; how many there were."""
    return int(TASK.delete().where(TASK.host == host).execute(database))


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
    known = [run for run in by_id.values() if run.task in ids]
    new = 0
    for i in range(0, len(known), _INSERTED):
        rows = [row_of(run, host, ids[run.task]) for run in known[i : i + _INSERTED]]
        new += _insert(database, rows)
    _note_executed(database, ids, known)
    return new


def prune(database: Any, task: int, since: int, newest: int) -> int:
    """Delete some of the task's runs before `since` (microseconds), but never `newest`; how many."""
    old = RUN.alias("old")
    some = old.select(old.number).where((old.task == task) & (old.began < since) & (old.number != newest))
    return int(RUN.delete().where(RUN.number.in_(some.limit(_PRUNED))).execute(database))


def _this(host: str, slug: str) -> Any:
    return (TASK.host == host) & (TASK.slug == slug)


def _insert(database: Any, rows: list[tuple[Any, ...]]) -> int:
    """Insert rows of runs, those that are there already left as they are; how many were new."""
    marks = f"({_marks(database, len(RUN_COLUMNS))})"
    statement = (
        f"INSERT INTO run ({', '.join(RUN_COLUMNS)}) VALUES {', '.join([marks] * len(rows))} "
        "ON CONFLICT (host, id) DO NOTHING"
    )
    return int(database.execute_sql(statement, [value for row in rows for value in row]).rowcount)


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
    for slug, began in last.items():
        database.execute_sql(statement, (at := microseconds(began), ids[slug], at))


def _marks(database: Any, number: int) -> str:
    return ", ".join([database.param] * number)
