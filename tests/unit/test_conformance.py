"""Both renderings hold to the schedule: what systemd fires (asked itself), what launchd fires by its manual
and the runner's guard lets through, and `next_times` are the same times, in five zones, across the changes of
their clocks.
"""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launchd_model import fires, runs
from test_calendar_oracle import NOW, by_the_clock, during_second_pass, elapses, moments, next_times

from keiji.launchd import calendar as agents
from keiji.schedule import Schedule, phase_of
from keiji.systemd import calendar as timers

ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour
    "Africa/Cairo",  # at midnight
    "Asia/Kolkata",  # never, and half an hour from the others
)
FEW_DAYS = timedelta(days=6)
asks_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def by_launchd(
    schedule: Schedule, machine: str, start: datetime, end: datetime, slug: str = "ping"
) -> list[datetime]:
    """The due times of the runs until `end`, of an agent that is loaded at `start`.

    A process that waits for the next time when launchd fires takes that, too, and so may go on beyond `end`.
    """
    plan = agents.plan(schedule, slug, NOW, machine)
    at_load = [start] * plan.at_load
    found = runs(schedule, slug, [*at_load, *fires(plan.entries, machine, start, end)], start)
    return [time for time in found if time <= end]


def due_within(schedule: Schedule, start: datetime, slug: str = "") -> tuple[list[datetime], datetime]:
    """The due times of the coming days, twenty at most, and when the last of them is."""
    phase = phase_of(schedule.form.seconds, slug) if slug else timedelta()
    found = [time for time in next_times(schedule, start, 20, phase) if time <= start + FEW_DAYS]
    return found, found[-1] if len(found) == 20 else start + FEW_DAYS


@st.composite
def places(draw: st.DrawFn) -> tuple[Schedule, str, datetime]:
    """A schedule in one zone, a machine in another or the same, and a moment near a change of clocks."""
    zone = draw(st.sampled_from(ZONES))
    machine = draw(st.sampled_from([zone, *ZONES]))
    schedule = draw(by_the_clock(zone))
    start = draw(moments(draw(st.sampled_from([zone, machine]))))
    return schedule, machine, start - timedelta(hours=4) * during_second_pass(zone, start)


@asks_systemd
@settings(max_examples=40, deadline=None)
@given(places())
def test_systemd_launchd_and_the_schedule_agree_on_the_times(place):
    schedule, machine, start = place
    due, end = due_within(schedule, start)
    plan = timers.plan(schedule, "ping", NOW)

    on_linux = {time for times in elapses(plan.calendars, start, 21) for time in times if time <= end}
    on_macos = by_launchd(schedule, machine, start, end)

    assert sorted(on_linux) == due
    assert on_macos == due


@settings(max_examples=100, deadline=None)
@given(places())
def test_launchd_and_the_guard_keep_the_schedule(place):
    schedule, machine, start = place
    due, end = due_within(schedule, start)

    assert by_launchd(schedule, machine, start, end) == due


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.sampled_from(ZONES), st.data(), st.text("abc", max_size=5))
def test_a_period_of_whole_minutes_is_kept_to_the_second(minutes, machine, data, slug):
    schedule = Schedule().run().every(minutes).minutes()
    start = data.draw(moments(machine))
    due, end = due_within(schedule, start, slug or "ping")

    assert by_launchd(schedule, machine, start, end, slug or "ping") == due


def test_a_period_that_is_due_a_second_before_launchd_fires_is_kept_to_the_second():
    schedule = Schedule().run().every(1).minutes()
    assert phase_of(60, "bacaa") == timedelta(seconds=59)
    due, end = due_within(schedule, NOW, "bacaa")

    assert by_launchd(schedule, "Asia/Kolkata", NOW, end, "bacaa") == due


@pytest.mark.parametrize("machine", ZONES)
@pytest.mark.parametrize("zone", ZONES)
def test_a_fixed_time_is_due_once_a_day_through_a_year(zone, machine):
    """02:30 is missing on one day of most of the zones and comes twice on another."""
    schedule = Schedule().on().every_day().at("00:30", "02:15").in_timezone(zone)
    start = datetime(2027, 1, 1, tzinfo=NOW.tzinfo)

    found = by_launchd(schedule, machine, start, start + timedelta(days=365))

    assert found == next_times(schedule, start, 730)[: len(found)]
    assert len(found) >= 729


def test_a_launch_that_launchd_is_late_with_by_a_sleep_is_made_up_for_once():
    schedule = Schedule().on().every_day().at("09:00").in_timezone("UTC")
    armed = datetime(2027, 1, 1, 8, tzinfo=NOW.tzinfo)
    woken = datetime(2027, 1, 4, 12, 34, 56, tzinfo=NOW.tzinfo)

    found = runs(schedule, "ping", [woken, woken + timedelta(minutes=5)], armed)

    assert found == [datetime(2027, 1, 4, 9, tzinfo=NOW.tzinfo)]
    assert runs(schedule.missed("skip"), "ping", [woken], armed) == []


def test_loading_an_agent_deliberately_is_no_missed_run():
    schedule = Schedule().on().every_day().at("09:00").in_timezone("UTC")
    armed = datetime(2027, 1, 1, 9, 0, 30, tzinfo=NOW.tzinfo)

    assert runs(schedule, "ping", [armed, armed + timedelta(hours=1)], armed) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4) | st.integers(1, 90), st.floats(0, 200), st.text("abc", max_size=5))
def test_a_period_loses_no_time_but_those_within_a_run(minutes, took, slug):
    schedule = Schedule().run().every(minutes).minutes()
    start = datetime(2027, 1, 1, 8, tzinfo=NOW.tzinfo)
    end = start + timedelta(minutes=12 * minutes)
    plan = agents.plan(schedule, slug or "ping", NOW, "UTC")

    starts = [start, *fires(plan.entries, "UTC", start, end)]  # it is started when it is loaded, too
    found = runs(schedule, slug or "ping", starts, start, took)

    due = next_times(schedule, start, 12, phase_of(60 * minutes, slug or "ping"))
    assert found
    assert [at for at in due if at <= end and at not in found] == [
        at for at in due if at <= end and any(run < at <= run + timedelta(seconds=took) for run in found)
    ]


def test_what_comes_due_during_a_run_is_dropped():
    schedule = Schedule().on().every_day().at("09:00", "09:10").in_timezone("UTC")
    start = datetime(2027, 1, 1, 8, tzinfo=NOW.tzinfo)
    plan = agents.plan(schedule, "ping", NOW, "UTC")
    starts = [*fires(plan.entries, "UTC", start, start + timedelta(hours=3)), start + timedelta(hours=4)]

    found = runs(schedule, "ping", starts, start, took=1200)

    assert found == [start + timedelta(hours=1)]
