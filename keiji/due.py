"""When a run was due, and whether it makes up for a missed time: told when its record is delivered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from keiji.errors import InvalidSchedule
from keiji.run import Run, Trigger
from keiji.runfile import Entry

if TYPE_CHECKING:
    from keiji.schedule import Schedule
    from keiji.task import Task

GRACE = timedelta(seconds=60)  # a busy machine begins a run that much late


@dataclass(frozen=True)
class Firings:
    """What a task's schedule says of its firings. `schedule` names its zone where it needs one."""

    schedule: Schedule
    phase: timedelta

    def reason(self, why: str, began: datetime) -> tuple[Trigger, datetime | None]:
        """Why a run began, from the runner's `why` (``timer``, ``manual`` or ``boot``), and when it was due.

        The due time is the last at or before its beginning; None where there is none.
        """
        if why != "timer":
            return Trigger(why), None
        try:
            due = self.schedule.last_time(began, self.phase)
        except (InvalidSchedule, ValueError, OverflowError):
            due = None  # a zone that is gone from this machine costs the due time, not the record
        if due is None:
            return Trigger.TIMER, None
        late = began - due > GRACE + timedelta(seconds=self.schedule.policy.jitter)
        return (Trigger.CATCH_UP if late and self._can_catch_up() else Trigger.TIMER), due

    def _can_catch_up(self) -> bool:
        """Short periods that divide no day are counted from when they were armed, so they only seem late."""
        form = self.schedule.form
        seconds = getattr(form, "seconds", 0)
        return self.schedule.catches_up and (seconds >= 3600 or 86400 % (seconds or 1) == 0)


def firings_of(task: Task, time_zone: str) -> Firings:
    """The task's firings; `time_zone` is that of a schedule that names none."""
    from keiji.schedule import phase_of

    schedule = task.schedule.in_zone(time_zone)
    seconds = getattr(schedule.form, "seconds", 0)
    return Firings(schedule, phase_of(seconds, task.slug) if seconds else timedelta(0))


def run_of(entry: Entry, host: str, firings: Firings) -> Run:
    """The record of a run that has ended."""
    assert entry.ended is not None
    assert entry.result is not None
    trigger, due = firings.reason(entry.why, entry.began)
    return Run(
        id=entry.id,
        task=entry.task,
        host=host,
        trigger=trigger,
        began=entry.began,
        ended=entry.ended,
        result=entry.result,
        due=due,
        exit_status=entry.status,
        signal=entry.signal,
        error=entry.error,
        attempts=entry.attempts,
        cpu_seconds=entry.cpu,
        peak_memory_bytes=entry.memory,
        build=entry.build,
    )
