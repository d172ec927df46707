"""The tables, and how their rows become values and back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from keiji.run import Result, Run, Trigger
from keiji.store.engine import peewee
from keiji.task import Task

if TYPE_CHECKING:
    from keiji.schedule import Schedule

TASK_VALUES = ("id", "task_id", "host", "name", "description", "schedule", "build", "last_execution")
FLAGS = ("is_disabled", "is_error", "error_txt")
RUN_VALUES = (
    "id",
    "host",
    "trigger",
    "due",
    "began",
    "ended",
    "result",
    "exit_status",
    "signal",
    "error",
    "attempts",
    "cpu_seconds",
    "peak_memory_bytes",
    "build",
)

# Not `Model` classes: those hold one database each for all threads and stores of a process.
TASK = peewee.Table("task", (*TASK_VALUES, "slug", *FLAGS))
RUN = peewee.Table("run", ("number", "task", *RUN_VALUES))

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def task_columns() -> list[Any]:
    return [getattr(TASK, name) for name in TASK_VALUES]


def run_columns() -> list[Any]:
    """A run's columns with its task's slug before them; for a query that joins both tables."""
    return [TASK.slug, *(getattr(RUN, name) for name in RUN_VALUES)]


def task_of(row: tuple[Any, ...]) -> Task:
    number, task_id, host, name, description, schedule, build, last_execution = row
    return Task(
        name=name,
        description=description,
        schedule=schedule_of(schedule),
        build=build,
        host=host,
        task_id=task_id,
        id=number,
        last_execution=time_of(last_execution),
    )


def run_of(row: tuple[Any, ...]) -> Run:
    slug, *rest = row
    values = dict(zip(RUN_VALUES, rest, strict=True))
    values.update(
        trigger=Trigger(values["trigger"]),
        result=Result(values["result"]),
        due=time_of(values["due"]),
        began=time_of(values["began"]),
        ended=time_of(values["ended"]),
    )
    return Run(task=slug, **values)


def row_of(run: Run, task: int) -> dict[str, Any]:
    """The columns of a run of the task whose row has the id `task`."""
    values = {name: getattr(run, name) for name in RUN_VALUES}
    values.update(
        task=task,
        trigger=str(run.trigger),
        result=str(run.result),
        due=None if run.due is None else microseconds(run.due),
        began=microseconds(run.began),
        ended=microseconds(run.ended),
        error=plain(run.error),
    )
    return values


def flags_of(disabled: bool, error: str | None) -> dict[str, Any]:
    """The columns that repeat what is true of a task; `error` is None unless it is held."""
    return dict(zip(FLAGS, (disabled, error is not None, plain(error or "")), strict=True))


def schedule_text(schedule: Schedule) -> str:
    return json.dumps(schedule.to_dict(), ensure_ascii=False, sort_keys=True)


def schedule_of(text: str) -> Schedule:
    from keiji.schedule import Schedule

    return Schedule.from_dict(json.loads(text))


def microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def time_of(at: int | None) -> datetime | None:
    return None if at is None else _EPOCH + timedelta(microseconds=at)


def plain(text: str) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
