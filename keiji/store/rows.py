"""How the rows of both tables become values and back."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from keiji.run import Result, Run, Trigger
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
RUN_COLUMNS = ("task", *RUN_VALUES)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


def task_of(row: tuple[Any, ...]) -> Task:
    """From `TASK_VALUES`."""
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
    """From the task's slug and then `RUN_VALUES`."""
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


def row_of(run: Run, host: str, task: int) -> tuple[Any, ...]:
    """A run of the task whose row has the id `task`, in the order of `RUN_COLUMNS`."""
    return (
        task,
        run.id,
        host,
        str(run.trigger),
        None if run.due is None else microseconds(run.due),
        microseconds(run.began),
        microseconds(run.ended),
        str(run.result),
        run.exit_status,
        run.signal,
        plain(run.error),
        run.attempts,
        run.cpu_seconds,
        run.peak_memory_bytes,
        run.build,
    )


def flags_of(disabled: bool, error: str | None) -> tuple[bool, bool, str]:
    """The `FLAGS` that repeat what is true of a task; `error` is None unless it is held."""
    return disabled, error is not None, plain(error or "")


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
