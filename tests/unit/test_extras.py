"""The explicit times in UTC around changes of a zone's clocks."""

from __future__ import annotations

from datetime import datetime, timezone

from keiji.schedule import Schedule
from keiji.systemd import zones
from keiji.systemd.extras import Extras, extras

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


def extras_of(schedule: Schedule, zone: str = "Europe/Berlin") -> Extras:
    return extras(schedule.form, zones.ahead(zone, NOW))


def epoch(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=timezone.utc).timestamp())


def test_a_time_that_does_not_exist_is_due_when_the_clock_jumps():
    found = extras_of(Schedule().on().every_day().at("02:30"))

    assert found.calendars[:2] == ("2027-03-28 01:00:00 UTC", "2028-03-26 01:00:00 UTC")
    assert len(found.calendars) == 10


def test_several_times_that_do_not_exist_are_due_once():
    found = extras_of(Schedule().on().every_day().at("02:00", "02:30", "02:59"))

    assert found.calendars[0] == "2027-03-28 01:00:00 UTC"
    assert len(found.calendars) == 10


def test_only_days_that_the_schedule_names_count():
    assert extras_of(Schedule().on().saturday().at("02:30")) == Extras()


def test_a_jump_at_midnight_belongs_to_the_new_day():
    found = extras_of(Schedule().on().sunday().at("00:00"), "America/Santiago")

    assert found.calendars[0] == "2027-09-05 04:00:00 UTC"


def test_a_fixed_time_that_is_repeated_is_only_watched():
    found = extras_of(Schedule().cron("30 2 * 10 *"))

    assert found.calendars == ()
    assert found.windows[0] == (epoch(2027, 10, 31, 1, 30), epoch(2027, 10, 31, 1, 30))


def test_a_wildcard_gets_the_second_pass_of_a_repeated_hour():
    found = extras_of(Schedule().cron("*/15 1-3 * * *"))

    assert found.calendars[0] == "2027-10-31 01:00..45/15:00 UTC"
    assert found.windows[0] == (epoch(2027, 10, 31, 1, 0), epoch(2027, 10, 31, 1, 45))
    assert len(found.calendars) == len(found.windows) == 10


def test_each_minute_of_a_repeated_hour_is_one_line():
    found = extras_of(Schedule().cron("* * * * sun"))

    assert found.calendars[0] == "2027-10-31 01:*:00 UTC"


def test_half_an_hour_can_be_repeated():
    found = extras_of(Schedule().cron("*/10 1 * * *"), "Australia/Lord_Howe")

    assert found.calendars[0] == "2027-04-03 15:00..20/10:00 UTC"


def test_times_far_from_any_change_need_nothing():
    assert extras_of(Schedule().on().every_day().at("09:00")) == Extras()
    assert extras_of(Schedule().on().every_day().at("09:00"), "Africa/Casablanca") == Extras()


def test_a_zone_whose_clocks_never_change_needs_nothing():
    assert extras_of(Schedule().cron("* 1-3 * * *"), "Africa/Nairobi") == Extras()


def test_all_times_near_an_odd_change_are_explicit_and_watched():
    found = extras_of(Schedule().on().every_day().at("02:30"), "Pacific/Chatham")

    assert "2027-09-25 13:45:00 UTC" in found.calendars  # 15 minutes before 02:45 becomes 03:45
    assert "2027-09-26 12:45:00 UTC" in found.calendars  # the first from there on
    assert (epoch(2027, 9, 25, 13, 45),) * 2 in found.windows
    assert (epoch(2027, 9, 26, 12, 45),) * 2 in found.windows


def test_all_of_a_thousand_tasks_in_one_zone_share_what_is_known_of_it(monkeypatch):
    zones.ahead("Europe/Berlin", NOW)
    monkeypatch.setattr(zones.wallclock, "transitions", None)

    for minute in range(60):
        assert extras_of(Schedule().cron(f"{minute} 2 * * *")).calendars
