"""What a schedule's timer carries, and what its firings have to be checked for."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from keiji.errors import UnsupportedHere
from keiji.schedule import Schedule
from keiji.systemd import calendar, zones
from keiji.systemd.calendar import TimerPlan

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def plan(schedule: Schedule, zone: str = "Europe/Berlin") -> TimerPlan:
    return calendar.plan(schedule.in_zone(zone), "ping", NOW)


def every(interval: int) -> Schedule:
    return Schedule().run().every(interval)


def daily(*times: str) -> Schedule:
    return Schedule().on().every_day().at(*times)


def test_a_period_that_divides_a_day_is_a_calendar_with_the_tasks_phase():
    assert plan(every(10).seconds()) == TimerPlan(("*-*-* *:*:09/10 UTC",))
    assert plan(every(2).hours()) == TimerPlan(("*-*-* 00/2:27:09 UTC",), persistent=True)


def test_a_short_period_that_divides_nothing_is_an_interval():
    assert plan(every(7).seconds()) == TimerPlan(every=7.0)
    assert plan(every(25).minutes()) == TimerPlan(every=1500.0)


def test_a_long_period_that_divides_nothing_is_a_finer_calendar():
    assert plan(every(36).hours()) == TimerPlan(("*-*-* 10/12:27:09 UTC",), persistent=True)
    assert plan(every(25).minutes().missed("once")).calendars == ("*-*-* *:02/5:09 UTC",)


def test_a_wall_clock_is_kept_in_its_zone_and_made_up_for():
    found = plan(daily("09:00").in_timezone("Africa/Nairobi"))

    assert found.calendars == ("*-*-* 09:00:00 Africa/Nairobi",)
    assert found.persistent
    assert found.horizon is not None


def test_extras_follow_the_expressions_in_the_zone():
    found = plan(daily("02:30"))

    assert found.calendars[:2] == ("*-*-* 02:30:00 Europe/Berlin", "2027-03-28 01:00:00 UTC")
    assert len(found.windows) == 20


def test_a_wildcard_for_each_hour_needs_no_extras_where_clocks_change_by_whole_hours():
    assert plan(Schedule().cron("*/5 * * * *")).calendars == ("*-*-* *:00/5:00 UTC",)
    assert len(plan(Schedule().cron("*/5 * * * *"), "Australia/Lord_Howe").calendars) > 10


def test_missed_and_jitter_are_carried_over():
    found = plan(daily("09:00").missed("skip").jitter("1m"))

    assert not found.persistent
    assert found.jitter == 60.0


def test_a_boot_is_no_calendar():
    assert plan(Schedule().at_boot()) == TimerPlan(on_startup=True)


@pytest.mark.parametrize(
    ("schedule", "guard"),
    [
        (every(10).seconds(), ""),
        (every(1).minutes(), ""),
        (every(10).minutes(), "skip"),
        (every(10).minutes().missed("once"), ""),
        (every(2).hours(), ""),
        (every(2).hours().missed("skip"), "skip"),
        (every(7).seconds(), ""),
        (every(36).hours(), "period"),
        (every(36).hours().missed("skip"), "period"),
        (daily("09:00"), ""),
        (daily("09:00").missed("skip"), "skip"),
        (Schedule().at_boot(), "boot"),
    ],
)
def test_the_runner_checks_what_systemd_cannot(schedule, guard):
    assert calendar.firing(schedule, "ping").guard == guard


def test_a_firing_knows_its_period_and_phase():
    found = calendar.firing(every(36).hours().jitter("5m"), "ping")

    assert (found.period, found.phase, found.catch_up, found.grace) == (129600.0, 80829.0, True, 360.0)


def test_without_a_timeout_a_run_has_no_bound():
    assert calendar.firing(daily("09:00").retry(tries=3), "ping").limit == 0


def test_a_runs_bound_holds_all_tries_and_the_waits_between_them():
    schedule = daily("09:00").timeout("30s").retry(tries=3, delay=5, backoff=2)

    assert calendar.firing(schedule, "ping").limit == 3 * (30 + 5) + 5 + 10 + 10


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (every(7).seconds().missed("once"), r"every\(7\).seconds\(\): systemd .* or missed\('skip'\) is"),
        (
            every(3601).seconds(),
            r"every\(3601\).seconds\(\): systemd .* of 1h1s across reboots; whole minutes",
        ),
        (daily("09:00", "09:05").jitter("5m"), r"jitter\('5m'\): two times .* 5m apart, and systemd"),
    ],
)
def test_what_systemd_cannot_keep_is_refused_by_name(schedule, message):
    with pytest.raises(UnsupportedHere, match=message):
        calendar.check(schedule.in_zone("Europe/Berlin"))


@pytest.mark.parametrize(
    "schedule", [every(7).seconds(), every(36).hours(), every(61).minutes(), daily("09:00"), daily("02:30")]
)
def test_what_systemd_can_keep_is_allowed(schedule):
    calendar.check(schedule.in_zone("Europe/Berlin"))


def test_a_time_that_this_systemd_would_fire_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(calendar, "_next", lambda expression, after: after - 3600)
    morocco = daily("02:30").in_timezone("Africa/Casablanca")
    then = datetime(2024, 1, 1, tzinfo=timezone.utc)  # since 2026f tzdata has no more changes there

    calendar.check(daily("02:30").in_timezone("Europe/Berlin"), then)
    calendar.check(daily("09:00").in_timezone("Africa/Casablanca"), then)
    with pytest.raises(UnsupportedHere, match="Africa/Casablanca go forward"):
        calendar.check(daily("01:30").in_timezone("Africa/Casablanca"), then)
    assert plan(morocco).calendars


@pytest.mark.parametrize("limits", [{"memory": "512M"}, {"cpu": "50%"}])
def test_a_limit_without_its_controller_is_refused(limits):
    policy = daily("09:00").limit(**limits).policy
    (name,) = limits

    calendar.check_limits(policy, {"memory", "cpu", "pids"})
    with pytest.raises(UnsupportedHere, match=rf"limit\({name}=…\): .* no `{name}` controller"):
        calendar.check_limits(policy, {"pids"})


def test_the_version_of_the_zones_is_read_from_their_first_line(monkeypatch, tmp_path):
    monkeypatch.setattr(zones, "FOLDER", tmp_path)
    assert calendar.tzdata_version() == "unknown"

    (tmp_path / "tzdata.zi").write_text("# version 2025b\n# This zic input file is in the public domain.\n")
    assert calendar.tzdata_version() == "2025b"
