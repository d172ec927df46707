"""What is read from the database: plain SQL, the same for every database, without peewee.

`ask` takes a SELECT and its values and returns the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keiji.run import Result, Run
from keiji.store.rows import FLAGS, RUN_VALUES, TASK_VALUES, run_of, task_of
from keiji.task import Task

Ask = Callable[..., list[tuple[Any, ...]]]

_TASK = f"SELECT {', '.join(TASK_VALUES)} FROM task WHERE host = ?"
_RUN = f"SELECT task.slug, {', '.join('run.' + name for name in RUN_VALUES)} FROM run"
_OF_TASK = f"{_RUN} JOIN task ON task.id = run.task WHERE task.host = ? AND task.slug = ?"
_NEWEST_FIRST = "ORDER BY began DESC, number DESC"


def tasks(ask: Ask, host: str) -> list[Task]:
    return [task_of(row) for row in ask(f"{_TASK} ORDER BY slug", host)]


def task(ask: Ask, host: str, slug: str) -> Task | None:
    return next((task_of(row) for row in ask(f"{_TASK} AND slug = ?", host, slug)), None)


def everyones(ask: Ask) -> list[tuple[Task, tuple[bool, bool, str], Run | None]]:
    """The tasks of every host, by name and host, with what the record says of each and its newest run."""
    query = f"SELECT {', '.join((*TASK_VALUES, *FLAGS))} FROM task ORDER BY slug, host"
    last = {(run.host, run.task): run for run in _newest_runs(ask)}
    found = []
    for row in ask(query):
        task, (disabled, error, text) = task_of(row[: len(TASK_VALUES)]), row[len(TASK_VALUES) :]
        found.append((task, (bool(disabled), bool(error), text), last.get((task.host, task.slug))))
    return found


def flags(ask: Ask, host: str) -> dict[str, tuple[bool, bool, str]]:
    """Slug → what the record says: is disabled, is held, the error."""
    rows = ask("SELECT slug, is_disabled, is_error, error_txt FROM task WHERE host = ?", host)
    return {slug: (bool(disabled), bool(error), text) for slug, disabled, error, text in rows}


def runs(ask: Ask, host: str, slug: str, limit: int) -> list[Run]:
    """The task's runs, the newest first."""
    return [run_of(row) for row in ask(f"{_OF_TASK} {_NEWEST_FIRST} LIMIT ?", host, slug, limit)]


def last_runs(ask: Ask, host: str) -> list[Run]:
    """The newest run of each task, without firings that were skipped."""
    return _newest_runs(ask, "WHERE task.host = ?", host)


def runs_beginning(ask: Ask, host: str, slug: str, prefix: str) -> list[Run]:
    """Two at most of the task's runs whose ids begin with `prefix`."""
    query = f"{_OF_TASK} AND run.host = ? AND run.id >= ? AND run.id < ? LIMIT 2"
    return [run_of(row) for row in ask(query, host, slug, host, prefix, prefix + "\U0010ffff")]


def run_of_id(ask: Ask, host: str, run: str) -> Run | None:
    """The run of that id, whatever its task."""
    query = f"{_RUN} JOIN task ON task.id = run.task WHERE run.host = ? AND run.id = ?"
    return next((run_of(row) for row in ask(query, host, run)), None)


def prunable(ask: Ask, host: str, keep_count: int, before: int) -> list[int]:
    """The ids of the tasks with more runs than `keep_count`, or older ones than `before` (microseconds)."""
    query = (  # by way of the tasks: so it reads the index alone
        "SELECT run.task FROM task JOIN run ON run.task = task.id WHERE task.host = ? GROUP BY run.task "
        "HAVING count(*) > ? OR (min(began) < ? AND count(*) > 1)"
    )
    return [row[0] for row in ask(query, host, keep_count, before)]


def kept(ask: Ask, task: int, keep_count: int, before: int) -> tuple[int, int]:
    """What pruning leaves of a task: the time since when its runs stay, and the number of its newest run.

    A firing that was skipped is no run to show as the last.
    """
    query = f"SELECT began FROM run WHERE task = ? {_NEWEST_FIRST} LIMIT 1 OFFSET ?"
    last_counted = ask(query, task, keep_count - 1)
    newest = f"SELECT number FROM run WHERE task = ? AND result <> ? {_NEWEST_FIRST} LIMIT 1"
    found = ask(newest, task, str(Result.SKIPPED))
    return max([before, *(row[0] for row in last_counted)]), found[0][0] if found else 0


def _newest_runs(ask: Ask, where: str = "", *values: object) -> list[Run]:
    """One look into the index a task, whatever the number of runs."""
    newest = (
        f"SELECT number FROM run AS other WHERE other.task = task.id AND result <> ? {_NEWEST_FIRST} LIMIT 1"
    )
    query = f"{_RUN} JOIN task ON run.number = ({newest}) {where}"
    return [run_of(row) for row in ask(query, str(Result.SKIPPED), *values)]
