"""Wall clocks where a zone's clocks change, by examples that can be looked up."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest

from keiji.errors import InvalidSchedule
from keiji.schedule import Schedule
from keiji.wallclock import transitions, zone_named

UTC = timezone.utc
FORWARD = "2026-03-28T12:00+01:00"  # Berlin's clocks jump from 02:00 to 03:00 on the 29th
BACK = "2026-10-24T12:00+02:00"  # and from 03:00 back to 02:00 on 25 October


def times(schedule: Schedule, zone: str, after: str, n: int) -> list[str]:
    """The next times, without the date."""
    start = datetime.fromisoformat(after).astimezone(ZoneInfo(zone))
    return [at.isoformat(timespec="minutes")[8:] for at in schedule.next_times(start, n)]


def test_a_fixed_time_that_does_not_exist_is_due_when_the_clock_jumps() -> None:
    daily = Schedule().every_day().at("02:30")

    assert times(daily, "Europe/Berlin", FORWARD, 2) == ["29T03:00+02:00", "30T02:30+02:00"]


def test_several_times_in_a_gap_are_due_once() -> None:
    thrice = Schedule().cron("15,45 2,3 * * *")
    with_the_jump = Schedule().every_day().at("02:00", "02:30", "03:00", "03:01")

    assert times(thrice, "Europe/Berlin", FORWARD, 3) == [
        "29T03:00+02:00",
        "29T03:15+02:00",
        "29T03:45+02:00",
    ]
    assert times(with_the_jump, "Europe/Berlin", FORWARD, 3) == [
        "29T03:00+02:00",
        "29T03:01+02:00",
        "30T02:00+02:00",
    ]


def test_a_fixed_time_that_exists_twice_is_due_the_first_time() -> None:
    daily = Schedule().every_day().at("02:30")

    assert times(daily, "Europe/Berlin", BACK, 2) == ["25T02:30+02:00", "26T02:30+01:00"]


def test_the_end_of_a_repeated_hour_is_due_once_it_has_really_come() -> None:
    daily = Schedule().every_day().at("03:00")

    assert times(daily, "Europe/Berlin", BACK, 2) == ["25T03:00+01:00", "26T03:00+01:00"]


def test_between_the_two_passes_a_fixed_time_is_over() -> None:
    daily = Schedule().every_day().at("02:30")

    assert times(daily, "Europe/Berlin", "2026-10-25T02:10+01:00", 1) == ["26T02:30+01:00"]
    assert times(daily, "Europe/Berlin", "2026-10-25T02:40+02:00", 1) == ["26T02:30+01:00"]


def test_a_wildcard_has_nothing_due_in_the_missing_hour() -> None:
    half_hours = Schedule().cron("*/30 1-3 * * *")

    assert times(half_hours, "Europe/Berlin", FORWARD, 5) == [
        "29T01:00+01:00",
        "29T01:30+01:00",
        "29T03:00+02:00",
        "29T03:30+02:00",
        "30T01:00+02:00",
    ]


def test_a_wildcard_has_both_passes_of_the_repeated_hour() -> None:
    hourly = Schedule().cron("@hourly")

    assert times(hourly, "Europe/Berlin", "2026-10-25T01:30+02:00", 3) == [
        "25T02:00+02:00",
        "25T02:00+01:00",
        "25T03:00+01:00",
    ]


def test_half_an_hour_of_summer_time_is_a_gap_like_any_other() -> None:
    """Lord Howe jumps from 02:00 to 02:30."""
    daily = Schedule().every_day().at("02:15")
    quarters = Schedule().cron("*/15 2 * * *")
    before = "2026-10-03T20:00+10:30"

    assert times(daily, "Australia/Lord_Howe", before, 2) == ["04T02:30+11:00", "05T02:15+11:00"]
    assert times(quarters, "Australia/Lord_Howe", before, 3) == [
        "04T02:30+11:00",
        "04T02:45+11:00",
        "05T02:00+11:00",
    ]


def test_a_missing_midnight_is_due_at_one() -> None:
    """Santiago jumps from 24:00 to 01:00."""
    midnight = Schedule().cron("@daily")

    assert times(midnight, "America/Santiago", "2026-09-05T12:00-04:00", 2) == [
        "06T01:00-03:00",
        "07T00:00-03:00",
    ]


def test_clocks_may_go_back_into_the_day_before() -> None:
    """St John's went from 00:01 on 7 November 2010 back to 23:01 on the 6th."""
    hourly = Schedule().cron("@hourly")
    late = Schedule().every_day().at("23:30", "00:00")
    before = "2010-11-06T22:30-02:30"

    assert times(hourly, "America/St_Johns", before, 4) == [
        "06T23:00-02:30",
        "07T00:00-02:30",
        "07T00:00-03:30",
        "07T01:00-03:30",
    ]
    assert times(late, "America/St_Johns", before, 3) == [
        "06T23:30-02:30",
        "07T00:00-02:30",
        "07T23:30-03:30",
    ]


def test_a_day_that_a_zone_left_out_is_due_when_the_next_begins() -> None:
    """Apia went from 29 to 31 December 2011."""
    daily = Schedule().every_day().at("09:00")

    assert times(daily, "Pacific/Apia", "2011-12-29T12:00-10:00", 2) == ["31T00:00+14:00", "31T09:00+14:00"]


def test_only_the_days_that_are_named_are_due() -> None:
    start = "2026-01-30T12:00+00:00"

    assert times(Schedule().last_day().at("9:00"), "UTC", start, 3) == [
        "31T09:00+00:00",
        "28T09:00+00:00",
        "31T09:00+00:00",
    ]
    assert times(Schedule().month_day(31).at("9:00"), "UTC", start, 3) == ["31T09:00+00:00"] * 3
    assert times(Schedule().weekdays().at("9:00"), "UTC", start, 2) == ["02T09:00+00:00", "03T09:00+00:00"]
    assert times(Schedule().cron("0 0 13 * fri"), "UTC", start, 3) == [
        "06T00:00+00:00",
        "13T00:00+00:00",
        "20T00:00+00:00",
    ]
    assert times(Schedule().cron("0 0 */2 * fri"), "UTC", start, 2) == ["13T00:00+00:00", "27T00:00+00:00"]


def test_the_rarest_date_is_found() -> None:
    """A 29 February that is a Sunday: 40 years apart where 2100 lies between."""
    schedule = Schedule().cron("0 0 29 2 */7")
    found = schedule.next_times(datetime(2033, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), 4)

    assert [at.year for at in found] == [2060, 2088, 2128, 2156]
    assert schedule.last_time(found[3] - timedelta(days=1)) == found[2]


def test_times_that_have_run_out_are_fewer_than_asked_for() -> None:
    daily = Schedule().every_day().at("9:00")
    late, early = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)

    assert daily.next_times(late, 3) == []
    assert daily.last_time(early) is None
    assert len(Schedule().every(3650 * 24).hours().next_times(late - timedelta(days=4000), 3)) == 1


class Unhashable(tzinfo):
    """A zone as other libraries have them: without a key or a hash, an hour ahead from July 2026 on."""

    __hash__ = None  # type: ignore[assignment]

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(
            hours=int(moment is not None and moment.replace(tzinfo=None) >= datetime(2026, 7, 1, 1))
        )

    def dst(self, moment: datetime | None) -> timedelta:
        return timedelta(0)

    def fromutc(self, moment: datetime) -> datetime:
        return moment + timedelta(hours=int(moment.replace(tzinfo=None) >= datetime(2026, 7, 1)))


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=5, minutes=45)), timezone.utc])
def test_a_fixed_offset_is_a_zone(zone: timezone) -> None:
    after = datetime(2026, 1, 1, 12, tzinfo=zone)

    assert Schedule().every_day().at("9:00").next_times(after, 1) == [datetime(2026, 1, 2, 9, tzinfo=zone)]


def test_any_other_kind_of_zone_will_do() -> None:
    after = datetime(2026, 6, 30, 12, tzinfo=Unhashable())
    found = Schedule().every_day().at("0:30", "9:00").next_times(after, 2)

    assert [at.astimezone(UTC) for at in found] == [
        datetime(2026, 7, 1, 0, tzinfo=UTC),
        datetime(2026, 7, 1, 8, tzinfo=UTC),
    ]


def test_transitions_hold_both_offsets_from_the_start_until_before_the_end() -> None:
    spring, autumn = datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)
    hour = timedelta(hours=1)

    assert transitions("Europe/Berlin", spring, autumn) == [(spring, hour, 2 * hour)]
    assert transitions(
        "Europe/Berlin", spring + timedelta(microseconds=1), autumn + timedelta(microseconds=1)
    ) == [(autumn, 2 * hour, hour)]
    assert transitions("Africa/Nairobi", spring, autumn) == []


def test_a_zone_that_is_gone_is_named_when_times_are_asked_for() -> None:
    stored = Schedule().every_day().at("9:00").to_dict() | {"policy": {"timezone": "Mars/Olympus"}}

    with pytest.raises(InvalidSchedule, match="no timezone 'Mars/Olympus'"):
        Schedule.from_dict(stored).next_times(datetime.now(UTC), 1)


def test_a_zone_is_found_by_its_name() -> None:
    assert zone_named("Asia/Kathmandu") == ZoneInfo("Asia/Kathmandu")
