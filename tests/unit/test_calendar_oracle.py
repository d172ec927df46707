"""What systemd itself makes of a timer's expressions, held against the schedule's own next times.

A timer waits for the earliest time after its last firing that any of its expressions names, so it is right
when that is the schedule's next time, whatever moment it looks from.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keiji.errors import UnsupportedHere
from keiji.schedule import Schedule, phase_of
from keiji.systemd import calendar
from keiji.systemd.calendar import TimerPlan
from keiji.wallclock import transitions

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
UTC = timezone.utc
PLAIN = (
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "America/Santiago",  # at midnight, forward in spring of the south
    "Africa/Cairo",  # at midnight
    "Asia/Beirut",  # at midnight
    "America/Havana",  # midnight comes twice
    "Antarctica/Troll",  # two hours
    "Asia/Kolkata",  # never
    "UTC",
)
ODD = ("Africa/Casablanca", "Pacific/Chatham")
ELAPSE = re.compile(r"(?:Next elapse|Iter(?:ation|\.) #\d+): \w+ (\S+ \S+) UTC")


def elapses(expressions: tuple[str, ...], base: datetime, n: int) -> list[list[datetime]]:
    """The next `n` times of each expression after `base`, as systemd finds them one from the other."""
    command = ["systemd-analyze", "calendar", f"--iterations={n}", f"--base-time=@{int(base.timestamp())}"]
    environment = {"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, *expressions], env=environment, capture_output=True, text=True, check=False
    )
    blocks = done.stdout.split("Normalized form")[1:]
    if len(blocks) < len(expressions):  # one finds no next time; a timer then goes by the others
        return [elapses((each,), base, n)[0] for each in expressions] if expressions[1:] else [[]]
    return [[_moment(text) for text in ELAPSE.findall(block)] for block in blocks]


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)


def fired(plan: TimerPlan, base: datetime, n: int) -> list[datetime]:
    """The first `n` times after `base` at which a timer fires that looks anew from each."""
    found = []
    for _ in range(n):
        base = min(times[0] for times in elapses(plan.calendars, base, 1) if times)
        found.append(base)
    return found


def next_times(
    schedule: Schedule, after: datetime, n: int, phase: timedelta = timedelta(0)
) -> list[datetime]:
    """In UTC: a repeated hour's times equal no time of another zone."""
    return [time.astimezone(UTC) for time in schedule.next_times(after, n, phase)]


def plan_of(schedule: Schedule) -> TimerPlan:
    return calendar.plan(schedule, "ping", NOW)


HOURS = st.sampled_from([0, 0, 1, 1, 2, 2, 3, 3, 4, 9, 17, 22, 23])
MINUTES = st.sampled_from([0, 0, 1, 15, 29, 30, 45, 59])
TIMES = st.lists(st.builds("{:02}:{:02}".format, HOURS, MINUTES), min_size=1, max_size=3, unique=True)
CRON = st.builds(
    "{} {} {} {} {}".format,
    st.sampled_from(["*", "*/15", "*/7", "0", "30", "5,45", "0-10", "*/20", "45"]),
    st.sampled_from(["*", "*/2", "0-5", "1,2,3", "0", "23", "1", "2", "*/3", "0-23", "9-17", "0,2,9"]),
    st.sampled_from(["*", "*", "*", "*", "1", "*/2", "25-31", "1,15"]),
    st.sampled_from(["*", "*", "*", "3,10", "*/2"]),
    st.sampled_from(["*", "*", "*", "sun", "mon-fri", "sat,sun", "*/2"]),
)


@st.composite
def by_the_clock(draw: st.DrawFn, zone: str) -> Schedule:
    days = draw(st.integers(0, 9))
    if days < 5:
        return Schedule().cron(draw(CRON)).in_timezone(zone)
    named = Schedule().on()
    if days == 5:
        named = named.last_day()
    elif days == 6:
        named = named.month_day(1, draw(st.integers(2, 31)))
    elif days == 7:
        named = named.sunday().friday()
    else:
        named = named.every_day()
    return named.at(*draw(TIMES)).in_timezone(zone)


@st.composite
def moments(draw: st.DrawFn, zone: str) -> datetime:
    """A moment in the coming years, more often than not shortly before or after a change of the clocks."""
    changes = transitions(zone, NOW + timedelta(days=60), NOW + timedelta(days=9 * 365))
    if changes and draw(st.integers(0, 3)):
        change, _, _ = draw(st.sampled_from(changes))
        longest = draw(st.sampled_from([5, 40, 180, 1200, 2400]))
        return change + timedelta(minutes=draw(st.integers(-longest, 90)))
    return NOW + timedelta(minutes=draw(st.integers(0, 9 * 365 * 1440)))


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_systemd_fires_by_the_clock_when_the_schedule_is_due(data):
    zone = data.draw(st.sampled_from(PLAIN))
    schedule = data.draw(by_the_clock(zone))
    start = data.draw(moments(zone))
    if during_second_pass(zone, start):
        start -= timedelta(hours=4)
    plan, due = plan_of(schedule), next_times(schedule, start, 20)

    found = {time for times in elapses(plan.calendars, start, 21) for time in times if time <= due[-1]}

    assert sorted(found) == due


def during_second_pass(zone: str, moment: datetime) -> bool:
    """Then a timer that is armed anew may fire a fixed time again; the runner drops that."""
    changes = transitions(zone, moment - timedelta(hours=3), moment + timedelta(seconds=1))
    return any(moment < change + (before - after) for change, before, after in changes)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whenever_it_is_armed_systemd_waits_for_the_next_due_time(data):
    """Or for one in a window, in which the runner checks."""
    zone = data.draw(st.sampled_from(PLAIN + ODD))
    start = data.draw(moments(zone))
    schedules = data.draw(st.lists(by_the_clock(zone), min_size=4, max_size=4))
    plans = [plan_of(schedule) for schedule in schedules]
    first = iter(elapses(tuple(line for plan in plans for line in plan.calendars), start, 1))

    for schedule, plan in zip(schedules, plans, strict=True):
        waits = min(times[0] for times in islice(first, len(plan.calendars)) if times)
        (due,) = next_times(schedule, start, 1)
        is_watched = any(low <= waits.timestamp() <= high for low, high in plan.windows)
        assert waits == due or (waits < due and is_watched), schedule


@pytest.mark.parametrize(
    ("cron", "zone", "start"),
    [
        # Clocks go from 02:00 to 03:00, out of a daylight saving time of minus one hour.
        ("0 2,9 * * *", "Africa/Casablanca", datetime(2027, 3, 13, 12, tzinfo=UTC)),
        ("30 */2 * * *", "Africa/Casablanca", datetime(2027, 3, 13, 22, tzinfo=UTC)),
        ("*/30 1-3 * * *", "Africa/El_Aaiun", datetime(2027, 3, 14, 1, 45, tzinfo=UTC)),
        # Clocks go from 02:45 to 03:45.
        ("45 2 * * *", "Pacific/Chatham", datetime(2027, 9, 24, tzinfo=UTC)),
        ("45 0-5 * * *", "Pacific/Chatham", datetime(2027, 9, 25, 9, tzinfo=UTC)),
        # The first of November begins twice.
        ("30 0 1 11 *", "America/Havana", datetime(2026, 2, 1, tzinfo=UTC)),
    ],
)
def test_a_timer_finds_its_way_across_an_odd_change(cron, zone, start):
    """By its expressions in the zone alone systemd loses times there, or finds no time at all any more."""
    schedule = Schedule().cron(cron).in_timezone(zone)
    plan = calendar.plan(schedule, "ping", start)
    try:
        calendar.check(schedule, start)
    except UnsupportedHere as refusal:
        pytest.skip(str(refusal))  # an older systemd

    assert fired(plan, start, 6) == next_times(schedule, start, 6)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([seconds for seconds in range(1, 86401) if 86400 % seconds == 0]), st.text(max_size=9))
def test_systemd_fires_a_period_when_it_is_due(seconds, slug):
    schedule = Schedule().run().every(seconds).seconds()
    plan = calendar.plan(schedule, slug, NOW)
    due = [time.replace(microsecond=0) for time in next_times(schedule, NOW, 20, phase_of(seconds, slug))]

    found = sorted(time for times in elapses(plan.calendars, NOW, 20) for time in times if time <= due[-1])

    assert found == due


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3000).filter(lambda minutes: 1440 % minutes), st.text(max_size=9))
def test_the_grid_of_a_period_that_divides_no_day_holds_its_due_times(minutes, slug):
    schedule = Schedule().run().every(minutes).minutes().missed("once")
    (due,) = next_times(schedule, NOW, 1, phase_of(minutes * 60, slug))
    plan = calendar.plan(schedule, slug, NOW)

    assert due in (times[0] for times in elapses(plan.calendars, due - timedelta(seconds=1), 1))
