"""What systemd gets wrong where a zone's clocks change, and the explicit times in UTC that mend it.

By itself systemd skips a time that does not exist, and drops the second pass of an hour that is repeated.
A timer that is armed during a second pass would fire a fixed time again: that cannot be mended here, so
such stretches are handed to the runner as windows in which a firing must be checked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

from keiji import wallclock
from keiji.forms import Cron, WallClock
from keiji.systemd import zones
from keiji.systemd.expressions import closed, grouped

_DAY = 86400
_FIRST_DAY = date(1970, 1, 1).toordinal()
# systemd's search strays only when it looks at times this near to a change, in seconds.
_NEAR = 2 * 3600
_APART = 900  # seconds


@dataclass(frozen=True)
class Extras:
    """`calendars` are more values of `OnCalendar=`; a firing within `windows` (epoch seconds, both ends
    included) must be checked against the schedule."""

    calendars: tuple[str, ...] = ()
    windows: tuple[tuple[int, int], ...] = ()


@lru_cache(maxsize=512)
def extras(form: WallClock | Cron, zone: zones.Zone) -> Extras:
    """What `form` needs beside its expressions in `zone`, for all changes that are known ahead."""
    due: list[int] = []
    windows: list[tuple[int, int]] = []
    for change in zone.changes:
        found = _around_odd(form, zone, change) if change.is_odd else _within(form, change)
        windows += _watched(change, found)
        if change.is_odd or change.is_forward or form.wildcard:
            due += found
    return Extras(tuple(_expressions(due)), _joined(windows))


def dues_before(form: WallClock | Cron, change: zones.Change) -> list[int]:
    """The due instants shortly before a change, from which systemd may look for the next."""
    start = change.at + change.before
    return [wall - change.before for wall in _walls(form, start - _NEAR, start)]


def _within(form: WallClock | Cron, change: zones.Change) -> list[int]:
    """What systemd misses at a plain change; for a fixed time that is repeated, when it might fire again."""
    first, last = sorted((change.at + change.before, change.at + change.after))
    if not change.is_forward:
        return [wall - change.after for wall in _walls(form, first, last)]
    return [change.at] if not form.wildcard and any(_walls(form, first, last)) else []


def _around_odd(form: WallClock | Cron, zone: zones.Zone, change: zones.Change) -> list[int]:
    """All due times near an odd change, and the first from it on: once that one has fired, systemd looks
    from behind the change."""
    reach = _NEAR + abs(change.after - change.before)
    start, until = change.at - reach, change.at + reach
    near = {wall // 60 % 1440 for wall in range(start + change.before, until + change.after, 60)}
    found: list[int] = []
    after = start - 1 if near.intersection(form.minutes_of_day) else until
    while after < until:
        moment = datetime.fromtimestamp(after, timezone.utc)
        batch = wallclock.next_due(form, zone.clocks, moment, 60)
        found += [int(due.timestamp()) for due in batch]
        after = found[-1] if batch else until
    return found[: max(bisect_left(found, until), bisect_left(found, change.at) + 1)]


def _watched(change: zones.Change, found: list[int]) -> list[tuple[int, int]]:
    """When a firing must be checked: rarely, for a late one that meets such a time seems a wrong one."""
    if not found:
        return []
    if not change.is_odd:
        return [(found[0], found[-1])]
    repeated = change.before - change.after
    return [(change.at - repeated, change.at + repeated)] * (repeated > 0) + [(due, due) for due in found]


def _walls(form: WallClock | Cron, start: int, end: int) -> Iterator[int]:
    """The wall times in [start, end) that the form names, counted as if they were UTC."""
    minutes = form.minutes_of_day
    for midnight in range(start - start % _DAY, end, _DAY):
        low = bisect_left(minutes, -((midnight - start) // 60))
        high = bisect_left(minutes, -((midnight - end) // 60))
        if low < high and _falls_on(form, midnight // _DAY + _FIRST_DAY):
            yield from (midnight + minute * 60 for minute in minutes[low:high])


def _falls_on(form: WallClock | Cron, ordinal: int) -> bool:
    day = date.fromordinal(ordinal)
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    month_length = (following - timedelta(days=1)).day
    return day.month in form.months and form.falls_on(day.day, day.weekday(), month_length)


def _expressions(due: Iterable[int]) -> Iterator[str]:
    """Instants as few expressions in UTC."""
    by_day: dict[int, list[int]] = {}
    for instant in due:
        by_day.setdefault(instant // _DAY, []).append(instant % _DAY // 60)
    for day, minutes in sorted(by_day.items()):
        for hours, found in grouped(minutes):
            yield f"{date.fromordinal(day + _FIRST_DAY)} {closed(hours, 0, 23)}:{closed(found, 0, 59)}:00 UTC"


def _joined(windows: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Windows that meet or nearly meet made one, in order."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(windows):
        if joined and first <= joined[-1][1] + _APART:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return tuple(joined)
