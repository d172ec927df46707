"""The runs in the database: recording, finding and pruning them.

Each function takes a connected database; those that write are called inside a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from keiji.run import Result, Run
from keiji.store.engine import peewee
from keiji.store.models import RUN, TASK, microseconds, row_of, run_columns, run_of

_ROWS = 100  # rows a statement; SQLite bounds the values of one
_PRUNED = 2000  # rows a transaction, so that others wait for a moment only


def record(database: Any, host: str, runs: Iterable[Run]) -> int:
    """Insert the runs that are new and belong to a task that is there; how many that were."""
    by_id = {run.id: run for run in runs}
    ids = _task_ids(database, host)
    fresh = [run for run in by_id.values() if run.task in ids]
    for part in _parts(fresh):
        known = {row[0] for row in _known(database, host, [run.id for run in part])}
        fresh = [run for run in fresh if run.id not in known]
    for part in _parts(fresh):
        RUN.insert([row_of(run, ids[run.task]) for run in part]).execute(database)
    for slug in {run.task for run in fresh}:
        _executed(database, ids[slug], [run.began for run in fresh if run.task == slug and _was_begun(run)])
    return len(fresh)


def newest(database: Any, host: str, slug: str, limit: int | None) -> list[Run]:
    """The task's runs, the newest first."""
    query = _of_task(host, slug).order_by(RUN.began.desc(), RUN.number.desc()).limit(limit)
    return [run_of(row) for row in query.tuples().execute(database)]


def last_of_each(database: Any, host: str) -> dict[str, Run]:
    """The newest run of each task, without firings that were skipped.

    One look into the index a task, whatever the number of runs.
    """
    other = RUN.alias("other")
    last = (
        other.select(other.number)
        .where((other.task == TASK.id) & (other.result != str(Result.SKIPPED)))
        .order_by(other.began.desc(), other.number.desc())
        .limit(1)
    )
    joined = TASK.join(RUN, on=(RUN.number == last))
    query = peewee.Select([joined], run_columns()).where(TASK.host == host)
    return {row[0]: run_of(row) for row in query.tuples().execute(database)}


def beginning_with(database: Any, host: str, slug: str, prefix: str) -> list[Run]:
    """Two of the task's runs at most whose ids begin with `prefix`."""
    within = RUN.id.between(prefix, prefix + "\U0010ffff")
    query = _of_task(host, slug).where((RUN.host == host) & within).limit(2)
    return [run_of(row) for row in query.tuples().execute(database)]


def oldest_kept(database: Any, task: int, keep_count: int, before: datetime) -> tuple[int, int] | None:
    """What pruning a task leaves: runs from a time on (microseconds), and always the newest (its number)."""
    ordered = RUN.select(RUN.began, RUN.number).where(RUN.task == task)
    ordered = ordered.order_by(RUN.began.desc(), RUN.number.desc()).tuples()
    first = list(ordered.limit(1).execute(database))
    if not first:
        return None
    last = list(ordered.limit(1).offset(keep_count - 1).execute(database))
    return max(microseconds(before), last[0][0] if last else 0), first[0][1]


def prune(database: Any, task: int, kept: tuple[int, int]) -> int:
    """Delete some of the task's runs that are older than what is kept; how many."""
    since, number = kept
    old = RUN.alias("old")
    some = old.select(old.number).where((old.task == task) & (old.began < since) & (old.number != number))
    return int(RUN.delete().where(RUN.number.in_(some.limit(_PRUNED))).execute(database))


def _of_task(host: str, slug: str) -> Any:
    joined = RUN.join(TASK, on=(RUN.task == TASK.id))
    return peewee.Select([joined], run_columns()).where((TASK.host == host) & (TASK.slug == slug))


def _task_ids(database: Any, host: str) -> dict[str, int]:
    rows = TASK.select(TASK.slug, TASK.id).where(TASK.host == host).tuples().execute(database)
    return dict(rows)


def _known(database: Any, host: str, ids: list[str]) -> Any:
    return RUN.select(RUN.id).where((RUN.host == host) & RUN.id.in_(ids)).tuples().execute(database)


def _was_begun(run: Run) -> bool:
    return run.result is not Result.SKIPPED


def _executed(database: Any, task: int, began: list[datetime]) -> None:
    if not began:
        return
    at = microseconds(max(began))
    earlier = TASK.last_execution.is_null() | (TASK.last_execution < at)
    TASK.update({TASK.last_execution: at}).where((TASK.id == task) & earlier).execute(database)


def _parts(runs: list[Run]) -> list[list[Run]]:
    return [runs[i : i + _ROWS] for i in range(0, len(runs), _ROWS)]
