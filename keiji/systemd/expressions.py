"""From a form to `OnCalendar=` expressions, leaving the changes of a zone's clocks aside (see `extras`).

Where a zone is named, a step always has an end (``00..22/2``): at ``00/2`` systemd looks for an hour 24,
and where clocks go forward at midnight it finds no next time any more (tried on 247, 252 and 257).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise
from math import lcm

from keiji.forms import ALL_MONTHS, WEEK, Cron, WallClock

_DAY_NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTH_DAYS = tuple(range(1, 32))
_HOURS = tuple(range(24))


def of_period(period: int, phase: timedelta) -> tuple[str, ...]:
    """Every `period` seconds, which must divide a day, counted from the epoch plus `phase`; in UTC."""
    cycle = lcm(period, 60)
    if 3600 % cycle:
        cycle = lcm(period, 3600)
    first = phase // timedelta(milliseconds=1) % (period * 1000)
    moments: dict[int, list[int]] = {}  # minute of the cycle: milliseconds
    for instant in range(first, cycle * 1000, period * 1000):
        moments.setdefault(instant // 60000, []).append(instant % 60000)
    minutes: dict[tuple[int, str], list[int]] = {}  # hour, seconds: minutes
    for minute, found in moments.items():
        minutes.setdefault((minute // 60, _seconds(found)), []).append(minute % 60)
    hours: dict[str, list[int]] = {}  # minutes and seconds: hours
    for (hour, seconds), numbers in minutes.items():
        rest = f"{_open(_repeated(numbers, cycle // 60, 60), 60)}:{seconds}"
        hours.setdefault(rest, []).append(hour)
    every = max(cycle // 3600, 1)
    return tuple(
        f"*-*-* {_open(_repeated(found, every, 24), 24)}:{rest} UTC" for rest, found in hours.items()
    )


def of_clock(form: WallClock | Cron, zone: str) -> tuple[str, ...]:
    """The wall clock times of `form` by the clocks of `zone`."""
    return tuple(
        f"{days} {closed(hours, 0, 23)}:{closed(minutes, 0, 59)}:00 {zone}"
        for days in _days(form)
        for hours, minutes in grouped(form.minutes_of_day)
    )


def of_elapsed(form: Cron, offset: int) -> tuple[str, ...] | None:
    """A cron expression for every hour of every day, in UTC; None when it is none, or not a wildcard.

    `offset` is the zone's from UTC, in seconds. Where clocks change by whole hours this needs no extras,
    and the manager forks a process to find the next time by any zone but UTC and its own.
    """
    every_hour = form.wildcard and form.hours == _HOURS
    every_day = form.month_days == _MONTH_DAYS and form.weekdays == WEEK and form.months == ALL_MONTHS
    if not (every_hour and every_day) or offset % 60:
        return None
    minutes = sorted((minute - offset // 60) % 60 for minute in form.minutes)
    return (f"*-*-* *:{_open(minutes, 60)}:00 UTC",)


def grouped(minutes_of_day: Iterable[int]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The times as few pairs (hours, minutes), each standing for all their combinations."""
    minutes: dict[int, list[int]] = {}
    for time in minutes_of_day:
        minutes.setdefault(time // 60, []).append(time % 60)
    hours: dict[tuple[int, ...], list[int]] = {}
    for hour, found in minutes.items():
        hours.setdefault(tuple(found), []).append(hour)
    return [(tuple(numbers), found) for found, numbers in hours.items()]


def closed(values: Sequence[int], low: int, high: int) -> str:
    """Sorted values of a field from `low` to `high`, as ``*``, a range, steps with an end or a list."""
    if len(values) == high - low + 1:
        return "*"
    step = _step(values)
    if len(values) > 2 and step:
        reach = f"{values[0]:02}..{values[-1]:02}"
        return reach if step == 1 else f"{reach}/{step}"
    return ",".join(f"{value:02}" for value in values)


def _open(values: Sequence[int], size: int) -> str:
    """The same in UTC, where steps need no end when they go on evenly in the next hour or day."""
    step = _step(values)
    if step > 1 and size % step == 0 and len(values) == size // step:
        return f"{values[0]:02}/{step}"
    return closed(values, 0, size - 1)


def _seconds(moments: Sequence[int]) -> str:
    """Milliseconds within a minute as systemd's field of seconds."""
    texts = [f"{moment // 1000:02}" + f".{moment % 1000:03}" * (moment % 1000 > 0) for moment in moments]
    step = _step(moments)
    if step == 1000 and moments[0] == 0:
        return "*"
    if step and 60000 % step == 0 and len(moments) == 60000 // step:
        return f"{texts[0]}/{step // 1000}"
    return f"{texts[0]}..{texts[-1]}/{step // 1000}" if step and len(moments) > 2 else ",".join(texts)


def _step(values: Sequence[int]) -> int:
    """The one distance between neighbours, else 0."""
    distances = {later - earlier for earlier, later in pairwise(values)}
    return distances.pop() if len(distances) == 1 else 0


def _repeated(values: Sequence[int], cycle: int, size: int) -> list[int]:
    """The values of one cycle in all the cycles that `size` has room for, sorted."""
    return [start + value for start in range(0, size, min(cycle, size)) for value in values]


def _days(form: WallClock | Cron) -> list[str]:
    """The date parts; several when any of them will do."""
    if isinstance(form, Cron):
        weekdays, month_days = _weekdays(form.weekdays), closed(form.month_days, 1, 31)
        months = closed(form.months, 1, 12)
        if form.either:
            return [f"*-{months}-{month_days}", f"{weekdays}*-{months}-*"]
        return [f"{weekdays}*-{months}-{month_days}"]
    days = [f"{_weekdays(form.weekdays)}*-*-*"] if form.weekdays else []
    days += [f"*-*-{closed(form.month_days, 1, 31)}"] if form.month_days else []
    return days + (["*-*~01"] if form.last_day else [])


def _weekdays(days: Sequence[int]) -> str:
    """``Mon..Fri `` or ``Mon,Wed ``, with the space that follows; nothing for the whole week."""
    if len(days) == 7:
        return ""
    if len(days) > 2 and _step(days) == 1:
        return f"{_DAY_NAMES[days[0]]}..{_DAY_NAMES[days[-1]]} "
    return ",".join(_DAY_NAMES[day] for day in days) + " "
