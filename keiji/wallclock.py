"""When a wall clock's times come, with the rules of Debian's cron where a zone's clocks change.

Within a stretch of one UTC offset a wall clock is plain arithmetic, so everything here goes stretch by
stretch. Inside, instants are whole seconds since the Unix epoch, and wall times the same count as if the
clock's reading were UTC.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, datetime, timedelta, timezone, tzinfo
from itertools import islice

from keiji.errors import InvalidSchedule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from keiji.forms import Cron, WallClock

DAY = 86400
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_FIRST_DAY = EPOCH.toordinal()
# The calendar of Python ends with these; the margins let every zone express them and a chunk end.
_BEGINNING = (date(1, 6, 1).toordinal() - _FIRST_DAY) * DAY
_END = (date(9999, 8, 1).toordinal() - _FIRST_DAY) * DAY
# No zone's clocks ever moved by more than a day.
_LOOKBACK = 2 * DAY
# The rarest dates are 40 years apart: 29 February on a given weekday, across 2100.
_HORIZON = 41 * 366 * DAY
_CHUNK = 64 * DAY
# `functools.lru_cache` costs more to import than all of this.
_known: dict[tuple[str | None, int], tuple[tuple[int, int, int], ...]] = {}


def zone_named(name: str) -> tzinfo:
    """The zone of an IANA name; `InvalidSchedule` suggests the nearest when there is none."""
    import zoneinfo

    try:
        if name.split("/")[0] not in ("posix", "right", "localtime", "posixrules", "Factory"):
            return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise InvalidSchedule(_unknown(name))


def _unknown(name: str) -> str:
    import difflib
    import zoneinfo

    known = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
    near = difflib.get_close_matches(name.lower().replace(" ", "_"), known, 1)
    same_city = [zone for key, zone in known.items() if key.endswith("/" + name.lower().replace(" ", "_"))]
    hint = min(same_city, default=known[near[0]] if near else "")
    return f"there is no timezone {name[:60]!r}" + (
        f": is {hint!r} meant?" if hint else ": an IANA name such as 'Africa/Nairobi' is allowed"
    )


def next_due(form: WallClock | Cron, zone: tzinfo, after: datetime, n: int) -> list[datetime]:
    """Up to `n` due times strictly after `after`, in `zone`."""
    last = max(_instant(after), _BEGINNING)
    found: list[int] = []
    while len(found) < n:
        batch = list(islice(_due(form, zone, last, last + _HORIZON), n - len(found)))
        if not batch:
            break
        found += batch
        last = batch[-1]
    return [_datetime(instant, zone) for instant in found]


def last_due(form: WallClock | Cron, zone: tzinfo, at: datetime) -> datetime | None:
    """The latest due time at or before `at`, in `zone`."""
    until = _instant(at)
    span = 3600
    while span < 8 * _HORIZON:
        found = list(_due(form, zone, max(until - span, _BEGINNING), until))
        if found:
            return _datetime(found[-1], zone)
        span *= 8
    return None


def transitions(
    zone_name: str, start: datetime, end: datetime
) -> list[tuple[datetime, timedelta, timedelta]]:
    """The changes of the zone's UTC offset in [start, end): when (UTC), the offset before and after."""
    changes = _changes(zone_named(zone_name), _instant(start), _instant(end) + 1)
    found = [
        (_datetime(at, timezone.utc), timedelta(seconds=before), timedelta(seconds=after))
        for at, before, after in changes
    ]
    return [change for change in found if start <= change[0] < end]


def _due(form: WallClock | Cron, zone: tzinfo, after: int, until: int) -> Iterator[int]:
    """Due instants in (after, until], ascending: month by month, so that a rare date costs little."""
    until = min(until, _END)
    while after < until:
        today = date.fromordinal(after // DAY + _FIRST_DAY)
        end = min(_first_of(today.year * 12 + today.month) * DAY, until)
        # No wall clock is two days from UTC.
        if any(True for _ in _days(form, after // DAY - 2, end // DAY + 2)):
            yield from _due_within(form, zone, after, end)
        after = end


def _due_within(form: WallClock | Cron, zone: tzinfo, after: int, until: int) -> Iterator[int]:
    """Due instants in (after, until], ascending.

    A fixed time is due when the clock first reads it or has jumped past it: `reached` is the furthest that
    the clock has read so far. A wildcard goes by what the clock reads, however often it does.
    """
    reached = None
    latest = after
    minutes = form.minutes_of_day
    for start, end, offset in _stretches(zone, after - _LOOKBACK, until + 1):
        wall = start + offset if form.wildcard or reached is None else reached
        reached = end + offset if reached is None else max(reached, end + offset)
        if end <= after:
            continue
        if start <= after:
            wall = max(wall, after + offset + 1)
        for wall_time in _wall_times(form, minutes, wall, end + offset):
            instant = max(start, wall_time - offset)
            if instant > latest:  # several times in a gap are due once
                latest = instant
                yield instant


def _wall_times(form: WallClock | Cron, minutes: tuple[int, ...], start: int, end: int) -> Iterator[int]:
    """The wall times in [start, end) that the form names."""
    for day in _days(form, start // DAY, end // DAY):
        midnight = day * DAY
        for index in range(bisect_left(minutes, (start - midnight + 59) // 60), len(minutes)):
            wall_time = midnight + minutes[index] * 60
            if wall_time >= end:
                return
            yield wall_time


def _days(form: WallClock | Cron, first: int, last: int) -> Iterator[int]:
    """The days (counted from the epoch) from `first` to `last` that the form names."""
    from_date, to_date = date.fromordinal(first + _FIRST_DAY), date.fromordinal(last + _FIRST_DAY)
    for month in range(from_date.year * 12 + from_date.month - 1, to_date.year * 12 + to_date.month):
        if month % 12 + 1 not in form.months:
            continue
        begin, following = _first_of(month), _first_of(month + 1)
        for day in range(max(begin, first), min(following, last + 1)):
            if form.falls_on(day - begin + 1, (day + 3) % 7, following - begin):  # the epoch was a Thursday
                yield day


def _first_of(month: int) -> int:
    return date(month // 12, month % 12 + 1, 1).toordinal() - _FIRST_DAY


def _stretches(zone: tzinfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """[start, end) cut into (start, end, offset) of one UTC offset each."""
    offset = _offset(zone, start)
    for at, _, after in _changes(zone, start + 1, end):
        yield start, at, offset
        start, offset = at, after
    if start < end:
        yield start, end, offset


def _changes(zone: tzinfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(instant, offset before, offset after) for each change of the UTC offset in [start, end)."""
    if isinstance(zone, timezone):
        return
    for chunk in range(start // _CHUNK, (end - 1) // _CHUNK + 1):
        for change in _changes_in(zone, chunk):
            if start <= change[0] < end:
                yield change


def _changes_in(zone: tzinfo, chunk: int) -> tuple[tuple[int, int, int], ...]:
    """The changes in one chunk of time, remembered for zones that have a name."""
    key = (getattr(zone, "key", None), chunk)
    if key not in _known or key[0] is None:
        if len(_known) > 4096:
            _known.clear()
        _known[key] = tuple(_probe(zone, chunk * _CHUNK))
    return _known[key]


def _probe(zone: tzinfo, begin: int) -> Iterator[tuple[int, int, int]]:
    """The changes in the chunk that begins there. `zoneinfo` cannot be asked for them: it is tried daily."""
    before = _offset(zone, begin - 1)
    for start in range(begin - 1, begin + _CHUNK - 1, DAY):
        low, high = start, start + DAY
        while before != _offset(zone, high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
            after = _offset(zone, high)
            yield high, before, after
            low, high, before = high, start + DAY, after


def _offset(zone: tzinfo, instant: int) -> int:
    offset = _datetime(instant, zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


def _instant(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(seconds=1)


def _datetime(instant: int, zone: tzinfo) -> datetime:
    return (EPOCH + timedelta(seconds=instant)).astimezone(zone)
