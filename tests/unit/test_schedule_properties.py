"""Next times held against two other judges: `cronsim` (Debian cron's rules) and a count minute by minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from keiji.schedule import Schedule
from keiji.wallclock import transitions

ZONES = (
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",  # summer time is its standard
    "America/New_York",
    "Africa/Nairobi",
    "Africa/Cairo",  # jumps at midnight, on a Friday
    "Africa/Casablanca",  # clocks go back for Ramadan
    "America/Santiago",  # jumps at midnight
    "America/St_Johns",  # UTC-3:30; until 2011 jumped at 00:01, back into the day before
    "America/Havana",
    "Asia/Beirut",
    "Asia/Kathmandu",  # UTC+5:45
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Chatham",  # UTC+12:45, jumps at 02:45
    "Pacific/Apia",  # left out 30 December 2011
)
# For a wildcard cronsim steps by whole hours, and it sets out from midnights that do not exist.
ODD_JUMPS = (
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Africa/Cairo",
    "America/Havana",
    "America/Santiago",
    "Asia/Beirut",
)
MINUTE = timedelta(minutes=1)
UTC = timezone.utc


@st.composite
def moments(draw: st.DrawFn, zones: tuple[str, ...] = ZONES, since: int = 2005) -> datetime:
    """An aware moment, more often than not within a day and a half of a change of the zone's clocks."""
    name = draw(st.sampled_from(zones))
    naive = draw(st.datetimes(datetime(since, 1, 1), datetime(2035, 1, 1)))
    year = naive.replace(tzinfo=UTC), naive.replace(tzinfo=UTC) + timedelta(days=400)
    changes = transitions(name, *year)
    if changes and draw(st.integers(0, 3)):
        change = draw(st.sampled_from(changes))[0]
        instant = change + draw(st.integers(-36 * 60, 6 * 60)) * MINUTE
    else:
        instant = year[0]
    return instant.replace(second=0, microsecond=0).astimezone(ZoneInfo(name))


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """The text of a cron field and the set that it stands for."""
    every = st.just(("*", frozenset(range(low, high + 1))))
    steps = st.integers(1, high).map(lambda n: (f"*/{n}", frozenset(range(low, high + 1, n))))
    return st.one_of(every, steps, some(low, high))


def some(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """The same without `*`: lists, twice as often, and ranges."""
    number = st.one_of(st.just(low), st.integers(low, high))  # clocks jump on the hour
    lists = st.frozensets(number, min_size=1, max_size=4).map(lambda s: (",".join(map(str, sorted(s))), s))
    ranges = st.tuples(number, number).map(lambda pair: (min(pair), max(pair)))
    spans = ranges.map(lambda pair: (f"{pair[0]}-{pair[1]}", frozenset(range(pair[0], pair[1] + 1))))
    return st.one_of(lists, lists, spans)


MINUTES, HOURS, MONTH_DAYS, MONTHS = field(0, 59), field(0, 23), field(1, 31), field(1, 12)
WEEKDAYS = field(0, 6)
NIGHT = some(0, 3)
ANY = st.just(("*", frozenset(range(62))))


class Expression:
    """A cron expression with its meaning, taken from how it was drawn and not from any parser."""

    def __init__(self, *fields: tuple[str, frozenset[int]]) -> None:
        self.texts = [text for text, _ in fields]
        self.minutes, self.hours, self.month_days, self.months, self.weekdays = (
            values for _, values in fields
        )

    def __repr__(self) -> str:
        return " ".join(self.texts)

    @property
    def wildcard(self) -> bool:
        return self.texts[0][0] == "*" or self.texts[1][0] == "*"

    def matches(self, wall: datetime) -> bool:
        by_date, by_week = wall.day in self.month_days, wall.isoweekday() % 7 in self.weekdays
        both = self.texts[2][0] == "*" or self.texts[4][0] == "*"
        return (
            wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.month in self.months
            and ((by_date and by_week) if both else (by_date or by_week))
        )


EXPRESSIONS = st.one_of(
    st.builds(Expression, MINUTES, st.one_of(NIGHT, HOURS), ANY, ANY, st.one_of(ANY, WEEKDAYS)),
    st.builds(Expression, MINUTES, NIGHT, MONTH_DAYS, ANY, WEEKDAYS),
)


def counted(
    matches: Callable[[datetime], bool], after: datetime, *, wildcard: bool, days: int = 3
) -> list[datetime]:
    """Every due instant (UTC) in the `days` after `after`, by looking at the clock at each minute.

    A wildcard is due whenever the clock reads a time that it names. A fixed time is due when the clock
    first reads it, or, where it never does, when the clock first reads a later one.
    """
    begin = in_utc(after) - timedelta(days=3)
    due, furthest = [], begin.astimezone(after.tzinfo).replace(tzinfo=None)
    for n in range((days + 3) * 1440 + 1):
        wall = (begin + n * MINUTE).astimezone(after.tzinfo).replace(tzinfo=None)
        passed = [furthest + k * MINUTE for k in range(1, (wall - furthest) // MINUTE + 1)]
        if matches(wall) if wildcard else any(map(matches, passed)):
            due.append(begin + n * MINUTE)
        furthest = max(furthest, wall)
    return [at for at in due if at > in_utc(after)]


def in_utc(moment: datetime | None) -> datetime:
    """In UTC, because Python compares moments of one zone by their clock, blind to repeated hours."""
    assert moment is not None
    return moment.astimezone(UTC)


def our_times(schedule: Schedule, after: datetime, n: int) -> list[datetime]:
    return [in_utc(at) for at in schedule.next_times(after, n)]


def our_days(schedule: Schedule, after: datetime, days: int = 3) -> list[datetime]:
    """The schedule's times of the `days` after `after`."""
    until = in_utc(after) + timedelta(days=days)
    return [at for at in our_times(schedule, after, days * 1440 + 1) if at <= until]


@given(EXPRESSIONS, moments())
@settings(max_examples=100, deadline=None)
def test_a_cron_expression_is_due_when_the_count_minute_by_minute_says(
    expression: Expression, after: datetime
) -> None:
    schedule = Schedule().cron(repr(expression))

    expected = counted(expression.matches, after, wildcard=expression.wildcard)

    assert our_days(schedule, after) == expected


@given(st.frozensets(st.integers(0, 4 * 60), min_size=1, max_size=5), moments())
@settings(max_examples=80, deadline=None)
def test_days_and_times_are_due_when_the_count_minute_by_minute_says(
    minutes: frozenset[int], after: datetime
) -> None:
    schedule = Schedule().every_day().at(*(f"{minute // 60}:{minute % 60:02}" for minute in minutes))
    expected = counted(lambda wall: wall.hour * 60 + wall.minute in minutes, after, wildcard=False)

    assert our_days(schedule, after) == expected


@given(st.builds(Expression, MINUTES, HOURS, MONTH_DAYS, MONTHS, WEEKDAYS), moments(since=2012))
@settings(max_examples=300, deadline=None)
def test_cronsim_agrees_over_years(expression: Expression, after: datetime) -> None:
    assume(not expression.wildcard or str(after.tzinfo) not in ODD_JUMPS)
    # Begun within a repeated hour, cronsim forgets which pass it is in.
    assume(after.replace(fold=0).utcoffset() == after.replace(fold=1).utcoffset())
    try:
        judge = CronSim(repr(expression), after)
    except CronSimError:
        reject()  # it never comes
    theirs = [in_utc(at) for at in islice(judge, 12)]

    assert our_times(Schedule().cron(repr(expression)), after, 12) == theirs


@given(EXPRESSIONS, moments())
@settings(max_examples=100, deadline=None)
def test_the_last_time_is_the_one_before_the_next(expression: Expression, at: datetime) -> None:
    schedule = Schedule().cron(repr(expression))
    last = in_utc(schedule.last_time(at))

    assert last <= in_utc(at)
    assert our_times(schedule, last.astimezone(at.tzinfo), n=1)[0] > in_utc(at)
    assert our_times(schedule, (last - timedelta(seconds=1)).astimezone(at.tzinfo), n=1) == [last]


@given(st.integers(1, 100_000), st.sampled_from(["seconds", "minutes"]), moments(), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_a_period_is_elapsed_time_counted_from_the_epoch_and_the_phase(
    n: int, units: str, after: datetime, milliseconds: int
) -> None:
    schedule = getattr(Schedule().every(n), units)()
    length = timedelta(**{units: n})
    phase = timedelta(milliseconds=milliseconds) % length
    times = [in_utc(at) for at in schedule.next_times(after, 5, phase)]

    assert times[0] - length <= in_utc(after) < times[0]
    assert all(later - sooner == length for sooner, later in pairwise(times))
    assert (times[0] - datetime(1970, 1, 1, tzinfo=UTC)) % length == phase
    assert in_utc(schedule.last_time(after, phase)) == times[0] - length


@given(EXPRESSIONS, moments(), st.integers(0, 59_999))
@settings(max_examples=60, deadline=None)
def test_next_times_go_on_where_they_stopped(expression: Expression, after: datetime, later: int) -> None:
    schedule = Schedule().cron(repr(expression))
    start = (in_utc(after) + timedelta(milliseconds=later)).astimezone(after.tzinfo)
    times = schedule.next_times(start, 6)
    instants = [in_utc(at) for at in times]

    assert instants == sorted(set(instants))
    assert instants[0] > in_utc(start)
    assert our_times(schedule, times[0], 5) == instants[1:]
    assert all(at.tzinfo is after.tzinfo for at in times)


@pytest.mark.parametrize("name", ZONES)
def test_transitions_are_every_change_that_an_hourly_look_finds(name: str) -> None:
    zone, start, end = ZoneInfo(name), datetime(2009, 7, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)
    hours = [start + timedelta(hours=n) for n in range((end - start) // timedelta(hours=1) + 1)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    seen = [(before, after) for before, after in pairwise(offsets) if before != after]
    found = transitions(name, start, end)

    assert [change[1:] for change in found] == seen
    for at, before, after in found:
        assert (at - timedelta(seconds=1)).astimezone(zone).utcoffset() == before
        assert at.astimezone(zone).utcoffset() == after
