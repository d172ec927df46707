"""From a `Schedule` to what its timer unit carries, and to what the runner checks at each firing."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from math import gcd
from typing import TYPE_CHECKING

from keiji.errors import UnsupportedHere
from keiji.quantities import duration
from keiji.schedule import Boot, Cron, Period, Policy, Schedule, WallClock, phase_of
from keiji.systemd import expressions, zones
from keiji.systemd.extras import Extras, dues_before, extras

if TYPE_CHECKING:
    from collections.abc import Set

_DAY = 86400
_COARSEST = 60  # seconds: the shortest grid on which the runner may drop the firings in between
_LATE = 60.0  # seconds after its due time from which a firing counts as missed
_KILL = 5.0  # seconds a try has to end after its timeout
_MARGIN = 10.0  # seconds for what a run does beside its tries


@dataclass(frozen=True)
class TimerPlan:
    """What the timer carries.

    `calendars`: values of `OnCalendar=`. `windows`: ranges of epoch seconds, both ends included, in which
    the runner has to check a firing. `every`: seconds of a period that is no calendar. `jitter`: seconds.
    `horizon`: until when changes of the zone's clocks were looked ahead; None when none can matter.
    """

    calendars: tuple[str, ...] = ()
    windows: tuple[tuple[int, int], ...] = ()
    every: float | None = None
    on_startup: bool = False
    persistent: bool = False
    jitter: float = 0.0
    horizon: datetime | None = None


@dataclass(frozen=True)
class Firing:
    """What the runner needs to know of a firing; seconds throughout.

    `guard` is what it checks: ``""``, ``"period"`` (drop what is no multiple of the period), ``"skip"``
    (drop what is later than `grace`) or ``"boot"`` (once a boot). `limit` bounds the whole run; 0 is none.
    """

    guard: str
    period: float
    phase: float
    catch_up: bool
    grace: float
    limit: float


def plan(schedule: Schedule, slug: str, now: datetime) -> TimerPlan:
    """The timer of task `slug`, its zone's changes looked ahead from `now` (aware); raises `UnsupportedHere`.

    A schedule by the clock must name its zone.
    """
    form, persistent, jitter = schedule.form, schedule.catches_up, float(schedule.policy.jitter)
    if isinstance(form, Period):
        seconds = form.seconds
        if not _is_calendar(schedule, form):
            return TimerPlan(every=float(seconds), jitter=jitter)
        grid = _grid(schedule, form)
        calendars = expressions.of_period(grid, phase_of(seconds, slug))
        return TimerPlan(calendars, persistent=persistent, jitter=jitter)
    if isinstance(form, (WallClock, Cron)):
        zone = _zone(schedule, now)
        lines, more = _lines(form, zone)
        return TimerPlan(
            (*lines, *more.calendars),
            more.windows,
            persistent=persistent,
            jitter=jitter,
            horizon=zone.horizon,
        )
    return TimerPlan(on_startup=True, jitter=jitter)


def firing(schedule: Schedule, slug: str) -> Firing:
    """What the runner of task `slug` must know."""
    form, policy = schedule.form, schedule.policy
    period, phase = 0.0, 0.0
    if isinstance(form, Period):
        period, phase = float(form.seconds), phase_of(form.seconds, slug).total_seconds()
    grace = _LATE + policy.jitter
    return Firing(_guard(schedule), period, phase, schedule.catches_up, grace, limit(policy))


def limit(policy: Policy) -> float:
    """Seconds after which a whole run is ended, all its tries and the waits between them; 0 for no bound."""
    if not policy.timeout:
        return 0.0
    waits = sum(policy.delay * policy.backoff**k for k in range(policy.tries - 1))
    return policy.tries * (policy.timeout + _KILL) + waits + _MARGIN


def check(schedule: Schedule, now: datetime | None = None) -> None:
    """Raise `UnsupportedHere`, naming the form, when systemd cannot do what the schedule asks."""
    form = schedule.form
    if isinstance(form, Period) and _is_calendar(schedule, form):
        _grid(schedule, form)
    if isinstance(form, (WallClock, Cron)):
        _check_jitter(form, schedule.policy.jitter)
        if schedule.policy.timezone:
            _check_loop(form, _zone(schedule, now or datetime.now(timezone.utc)))


def check_limits(policy: Policy, controllers: Set[str]) -> None:
    """Raise `UnsupportedHere` for a limit that the user manager's cgroup `controllers` cannot enforce."""
    for name, wanted in (("memory", policy.memory), ("cpu", policy.cpu)):
        if wanted is not None and name not in controllers:
            raise UnsupportedHere(
                f"limit({name}=…): the systemd user manager here has no `{name}` controller "
                "(cgroup.controllers), so it would not be enforced"
            )


def tzdata_version() -> str:
    """The version of the machine's zone data, such as ``2025b``; ``unknown`` when it doesn't say."""
    try:
        with open(zones.FOLDER / "tzdata.zi", encoding="ascii", errors="replace") as data:
            found = re.match(r"# version (\S+)", data.readline())
    except OSError:
        found = None
    return found[1] if found else "unknown"


def _zone(schedule: Schedule, now: datetime) -> zones.Zone:
    if schedule.policy.timezone is None:
        raise ValueError(f"{schedule} names no zone")
    return zones.ahead(schedule.policy.timezone, now)


def _lines(form: WallClock | Cron, zone: zones.Zone) -> tuple[tuple[str, ...], Extras]:
    if isinstance(form, Cron) and zone.keeps_minutes:
        elapsed = expressions.of_elapsed(form, zone.offset)
        if elapsed:
            return elapsed, Extras()
    return expressions.of_clock(form, zone.name), extras(form, zone)


def _is_calendar(schedule: Schedule, form: Period) -> bool:
    """Whether a period is kept by calendar; one that divides no day may begin anew at boot when it is
    short and nothing is made up for."""
    return _DAY % form.seconds == 0 or form.seconds >= 3600 or schedule.catches_up


def _grid(schedule: Schedule, form: Period) -> int:
    """The period of the calendar on which a period is kept, in seconds; raises `UnsupportedHere`."""
    grid = gcd(form.seconds, _DAY)
    if grid == form.seconds or grid >= _COARSEST:
        return grid
    allowed = "whole minutes, or a period that divides a day"
    if form.seconds < 3600:
        allowed += ", or missed('skip')"
    raise UnsupportedHere(
        f"every({form.interval}).{form.units}(): systemd cannot keep a period of {duration(form.seconds)} "
        f"across reboots; {allowed} is allowed"
    )


def _guard(schedule: Schedule) -> str:
    form = schedule.form
    if isinstance(form, Boot):
        return "boot"
    if isinstance(form, Period):
        if not _is_calendar(schedule, form):
            return ""
        if _DAY % form.seconds:
            return "period"
        if form.seconds <= _LATE:
            return ""
    return "" if schedule.catches_up else "skip"


def _check_jitter(form: WallClock | Cron, jitter: float) -> None:
    """systemd looks for the next time from when it has fired: what falls into a delay is lost."""
    times = form.minutes_of_day
    nearest = min(
        later - earlier for earlier, later in zip(times, (*times[1:], times[0] + 1440), strict=True)
    )
    if jitter >= nearest * 60:
        raise UnsupportedHere(
            f"jitter({duration(jitter)!r}): two times of this schedule are {duration(nearest * 60)} apart, "
            "and systemd would lose the second; a shorter jitter is allowed"
        )


def _check_loop(form: WallClock | Cron, zone: zones.Zone) -> None:
    """Some versions of systemd fire without end in the last hours before the clocks of some zones go
    forward; ask the one that is here where that could be."""
    lines, _ = _lines(form, zone)
    for change in zone.changes:
        dues = dues_before(form, change) if change.is_odd and change.is_forward else []
        if not dues or lines[0].endswith(" UTC"):
            continue
        if any(_next(line, due) <= due for line in lines for due in (dues[0], dues[-1])):
            day = datetime.fromtimestamp(change.at, zone.clocks).date()
            raise UnsupportedHere(
                f"a time shortly before the clocks of {zone.name} go forward ({day}): the systemd here would "
                "fire it over and over on that day; another time or zone, or a newer systemd is needed"
            )
        return


def _next(expression: str, after: int) -> float:
    """systemd's own next time, in epoch seconds; infinity when it has none or can't be asked."""
    command = ["systemd-analyze", "calendar", f"--base-time=@{after}", expression]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=10, env={"TZ": "UTC", "LC_ALL": "C"}
        )
    except (OSError, subprocess.SubprocessError):
        return float("inf")
    found = re.search(r"Next elapse: \w+ (\S+ \S+) UTC", done.stdout)
    if not found:
        return float("inf")
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
