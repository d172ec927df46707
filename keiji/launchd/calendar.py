"""From a `Schedule` to what its launchd agent carries, and to what the runner makes up for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import Any

from keiji import settings
from keiji.errors import UnsupportedHere
from keiji.launchd import images
from keiji.quantities import duration
from keiji.schedule import Boot, Cron, Period, Schedule, WallClock, phase_of

_DAY = 86400
_LATE = 60.0  # seconds after its due time from which a firing counts as missed


@dataclass(frozen=True)
class AgentPlan:
    """How launchd starts the runner.

    `entries`: the dictionaries of `StartCalendarInterval`. `is_resident`: one process keeps the period by
    itself. `at_load`: also when the agent is loaded, which is at login.
    """

    entries: tuple[images.Entry, ...] = ()
    is_resident: bool = False
    at_load: bool = False


def plan(schedule: Schedule, slug: str, now: datetime, machine: str | None = None) -> AgentPlan:
    """The agent of task `slug`, for a machine whose zone is `machine` (default: this one's).

    A schedule by the clock must name its zone.
    """
    form, machine = schedule.form, machine or local_zone()
    if isinstance(form, Boot):
        return AgentPlan(at_load=True)
    if isinstance(form, Period):
        if _is_resident(form):
            return AgentPlan(is_resident=True, at_load=True)
        grid = gcd(form.seconds, _DAY) // 60
        first = int(phase_of(form.seconds, slug).total_seconds()) // 60 % grid
        entries = images.of_minutes(range(first, 1440, grid), machine, now)
        return AgentPlan(tuple(entries), at_load=True)  # a time may be due in what is left of this minute
    assert isinstance(form, (WallClock, Cron))
    if schedule.policy.timezone is None:
        raise ValueError(f"{schedule} names no zone")
    entries = images.of_clock(form, schedule.policy.timezone, machine, now)
    return AgentPlan(tuple(entries), at_load=schedule.catches_up)


def firing(schedule: Schedule, slug: str) -> dict[str, Any]:
    """The constants that the runner of task `slug` needs; seconds and bytes.

    Nothing that launchd starts is taken at its word: ``GUARD`` is ``due`` (a time is due or was missed, and
    not yet taken) or ``boot``; a resident runner that makes up for nothing goes by itself and needs none.
    ``LEAD``: how long after a full minute, at which launchd fires, the time is due.
    """
    form = schedule.form
    period, phase, guard, lead, is_loop = 0.0, 0.0, "due", 0.0, False
    if isinstance(form, Boot):
        guard = "boot"
    if isinstance(form, Period):
        period, phase = float(form.seconds), phase_of(form.seconds, slug).total_seconds()
        is_loop = _is_resident(form)
        lead = 0.0 if is_loop else phase % 60
        if is_loop and period <= _LATE and not schedule.catches_up:
            guard = ""
    return {
        "HOST": "macos",
        "GUARD": guard,
        "PERIOD": period,
        "PHASE": phase,
        "CATCH_UP": schedule.catches_up,
        "GRACE": _LATE + schedule.policy.jitter,
        "LIMIT": 0.0,
        "LEAD": lead,
        "LOOP": is_loop,
        "MEMORY": schedule.policy.memory or 0,
    }


def check(schedule: Schedule) -> None:
    """Raise `UnsupportedHere`, naming the form, when neither launchd nor the runner can do it on macOS."""
    form, policy = schedule.form, schedule.policy
    if policy.cpu is not None:
        raise UnsupportedHere(
            f"limit(cpu='{policy.cpu}%'): macOS cannot bound a process's share of the processor, so it would "
            "not be enforced"
        )
    if isinstance(form, (WallClock, Cron)) and policy.jitter:
        times = form.minutes_of_day
        nearest = min(
            later - earlier for earlier, later in zip(times, (*times[1:], times[0] + 1440), strict=True)
        )
        if policy.jitter >= nearest * 60:
            raise UnsupportedHere(
                f"jitter({duration(policy.jitter)!r}): two times of this schedule are "
                f"{duration(nearest * 60)} apart, and launchd on macOS would lose the second; "
                "a shorter jitter is allowed"
            )


def local_zone() -> str:
    """The zone that launchd goes by: the machine's, whatever TZ says here."""
    return settings.machine_zone({})


def _is_resident(form: Period) -> bool:
    """launchd starts nothing more often than every ten seconds and at no second but the minute's first,
    and a `StartInterval` begins anew when a run ends: its times are nobody's due times."""
    return form.seconds < 60 or form.seconds % 60 > 0
