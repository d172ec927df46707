"""The local times at which launchd has to look at a task: images of its due times on this machine's clock.

launchd knows the machine's zone only, no ranges, steps or lists, and does something that nobody wrote down
where clocks change. So more times are named than are due, never fewer, and the runner drops what is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

from keiji import wallclock
from keiji.forms import ALL_MONTHS, WEEK, Cron, WallClock

LIMIT = 500
"""More dictionaries than that are replaced by fewer that say less."""

_YEARS = 10
_DAY = 1440  # minutes
_MONTH_DAYS = tuple(range(1, 32))
Entry = dict[str, int]


class Days(NamedTuple):
    """Days on which launchd has to look; None is any. Weekdays have Monday as 0.

    Month days and weekdays are never named together: the manual calls that an OR, Apple's guide an AND.
    """

    month_days: tuple[int, ...] | None = None
    weekdays: tuple[int, ...] | None = None
    months: tuple[int, ...] | None = None


def of_clock(form: WallClock | Cron, zone: str, machine: str, now: datetime) -> list[Entry]:
    """For a form that goes by the clocks of `zone`, where launchd goes by those of `machine`."""
    found: dict[Days, set[int]] = {}
    for distance in distances(zone, machine, now):
        for minute in form.minutes_of_day:
            shift, local = divmod(minute + distance, _DAY)
            for days in _days(form):
                found.setdefault(_shifted(days, shift), set()).add(local)
    jumps = set() if form.wildcard else _jumps(form, zone, machine, now)
    if jumps:
        found.setdefault(Days(), set()).update(jumps)
    return _entries(found)


def of_minutes(minutes: Iterable[int], machine: str, now: datetime) -> list[Entry]:
    """For these minutes of each day of UTC."""
    apart = distances("UTC", machine, now)
    return _entries({Days(): {(minute + distance) % _DAY for minute in minutes for distance in apart}})


def distances(zone: str, machine: str, now: datetime) -> list[int]:
    """By how many minutes the machine's clock is ahead of the zone's, in ten years from yesterday on."""
    if zone == machine:
        return [0]
    start, end = _span(now)
    ours, theirs = wallclock.zone_named(machine), wallclock.zone_named(zone)
    changes = {at for name in (zone, machine) for at, _, _ in wallclock.transitions(name, start, end)}
    return sorted({_offset(ours, at) - _offset(theirs, at) for at in (start, *changes)})


def _jumps(form: WallClock | Cron, zone: str, machine: str, now: datetime) -> set[int]:
    """The local minutes of the day at which the zone's clocks jump past a time of the form's."""
    ours, found = wallclock.zone_named(machine), set()
    for at, before, after in wallclock.transitions(zone, *_span(now)):
        first, last = (int((at + offset).timestamp()) // 60 for offset in (before, after))
        if any((minute - first) % _DAY < last - first for minute in form.minutes_of_day):
            found.add((int(at.timestamp()) // 60 + _offset(ours, at)) % _DAY)
    return found


def _span(now: datetime) -> tuple[datetime, datetime]:
    start = now.astimezone(timezone.utc) - timedelta(days=1)
    return start, start + timedelta(days=365.25 * _YEARS)


def _offset(zone: tzinfo, at: datetime) -> int:
    return (at.astimezone(zone).utcoffset() or timedelta()) // timedelta(minutes=1)


def _days(form: WallClock | Cron) -> Iterator[Days]:
    if isinstance(form, Cron):
        months = None if form.months == ALL_MONTHS else form.months
        month_days = None if form.month_days == _MONTH_DAYS else form.month_days
        weekdays = None if form.weekdays == WEEK else form.weekdays
        if form.either:
            yield Days(month_days=month_days, months=months)
            yield Days(weekdays=weekdays, months=months)
        elif month_days:
            yield Days(month_days=month_days, months=months)
        else:
            yield Days(weekdays=weekdays, months=months)
        return
    if form.weekdays:
        yield Days(weekdays=None if form.weekdays == WEEK else form.weekdays)
    if form.month_days:
        yield Days(month_days=form.month_days)
    if form.last_day:
        yield Days(month_days=(28, 29, 30, 31))


def _shifted(days: Days, shift: int) -> Days:
    """The same days on a clock on which it is `shift` days later."""
    if not shift:
        return days
    if days.weekdays:
        return Days(weekdays=tuple(sorted((day + shift) % 7 for day in days.weekdays)))
    if days.month_days is None:
        return Days()
    ends = (28, 29, 30, 31)
    found: set[int] = set()
    for day in days.month_days:
        found.update([day + shift] if 1 <= day + shift <= 31 else ends if shift < 0 else [])
        if shift > 0 and day + shift > ends[0]:
            found.update(range(1, day + shift - ends[0] + 1))
    return Days(month_days=tuple(sorted(found)))


def _entries(found: dict[Days, set[int]]) -> list[Entry]:
    """As few dictionaries as say it exactly, or else so few as launchd may be given."""
    lost: tuple[str, ...] = ()
    for lost in ((), ("months",), ("months", "month_days", "weekdays")):
        merged: dict[Days, set[int]] = {}
        for days, minutes in found.items():
            merged.setdefault(days._replace(**dict.fromkeys(lost)), set()).update(minutes)
        entries = [
            entry for days in merged for entry in _of_days(days, merged[days] - merged.get(Days(), set()))
        ]
        entries += _of_days(Days(), merged[Days()]) if Days() in merged else []
        if len(entries) <= LIMIT:
            return _unique(entries)
    return [{"Minute": minute} for minute in sorted({m % 60 for each in found.values() for m in each})]


def _of_days(days: Days, minutes: set[int]) -> list[Entry]:
    dates: list[Entry] = [{}]
    if days.weekdays:
        dates = [{"Weekday": (day + 1) % 7} for day in days.weekdays]
    elif days.month_days:
        dates = [{"Day": day} for day in days.month_days]
    if days.months:
        dates = [{"Month": month, **date} for month in days.months for date in dates]
    return [{**date, **time} for date in dates for time in _times(minutes)]


def _times(minutes: set[int]) -> Iterator[Entry]:
    """The minute is always said: else launchd takes every minute."""
    hours: dict[int, list[int]] = {}
    for minute in sorted(minutes):
        hours.setdefault(minute % 60, []).append(minute // 60)
    for minute, found in sorted(hours.items()):
        if len(found) == 24:
            yield {"Minute": minute}
        else:
            yield from ({"Hour": hour, "Minute": minute} for hour in found)


def _unique(entries: list[Entry]) -> list[Entry]:
    return [dict(items) for items in dict.fromkeys(tuple(entry.items()) for entry in entries)]
