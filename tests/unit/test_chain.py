"""The author's chain: what it accepts, and what it refuses in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keiji.errors import InvalidSchedule
from keiji.schedule import Boot, Period, Schedule, WallClock

S = Schedule


def refusal(chain: Callable[[], Schedule]) -> str:
    """The message of a chain that must be refused by the time it is checked."""
    with pytest.raises(InvalidSchedule) as caught:
        chain().build()
    message = caught.value.message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        (S().run().every(10).seconds(), 10),
        (S().every(1).second(), 1),
        (S().run().every(25).minutes(), 1500),
        (S().every(1).minute(), 60),
        (S().every(36).hours(), 129_600),
        (S().every().hour(), 3600),
        (S().every(3650 * 24).hours(), 3650 * 86400),
    ],
)
def test_a_period_is_a_number_of_units(schedule: Schedule, seconds: int) -> None:
    assert isinstance(schedule.build().form, Period)
    assert schedule.form.seconds == seconds


@pytest.mark.parametrize(
    ("number", "word"),
    list(enumerate(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"])),
)
def test_each_day_of_the_week_has_a_method(number: int, word: str) -> None:
    schedule = getattr(S().on(), word)().at("10:00PM")

    assert schedule.form == WallClock(weekdays=(number,), times=schedule.form.times)


def test_days_add_up_in_any_order() -> None:
    assert S().friday().monday().at("9:00") == S().monday().friday().monday().at("9:00")
    assert S().weekdays().saturday().sunday().at("9:00") == S().every_day().at("9:00")
    assert S().month_day(15).last_day().month_day(1).at("9:00") == S().month_day(1, 15).last_day().at("9:00")


def test_times_are_sorted_and_said_once() -> None:
    schedule = S().every_day().at("17:30", "9:00").at("5:30PM")

    assert [str(clock) for clock in schedule.form.times] == ["9:00", "17:30"]


def test_refinements_go_anywhere_in_the_chain() -> None:
    first = S().timeout("30s").retry(3).on().friday().in_timezone("Africa/Nairobi").at("22:00")
    last = S().on().friday().at("22:00").in_timezone("Africa/Nairobi").retry(tries=3).timeout(30)

    assert first == last.build()


def test_reboot_is_at_boot() -> None:
    assert S().cron("@reboot") == S().at_boot().build()
    assert S().cron("@Reboot").form == Boot()


def test_a_method_leaves_the_schedule_it_was_called_on_alone() -> None:
    fridays = S().on().friday()
    fridays.monday().at("9:00")

    assert fridays == S().friday()


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        (lambda: S(), "nothing about when"),
        (lambda: S().run().on(), "nothing about when"),
        (lambda: S().timeout(5), "nothing about when"),
        (lambda: S().every(5), "every(5) has no unit: seconds(), minutes() or hours()"),
        (lambda: S().on().monday(), "days without at()"),
        (lambda: S().last_day(), "days without at()"),
        (lambda: S().at("9:00"), "at() follows days"),
        (lambda: S().every(5).seconds().at("9:00"), "at() follows days"),
        (lambda: S().every_day().at(), "at() names no time"),
        (lambda: S().seconds(), "seconds() stands alone"),
        (lambda: S().every(5).seconds().minutes(), "minutes() stands alone"),
        (lambda: S().every(5).every(6).seconds(), "one form"),
        (
            lambda: S().every(5).seconds().cron("@daily"),
            "cron() does not go with every(): a schedule has one",
        ),
        (lambda: S().cron("@daily").at_boot(), "at_boot() does not go with cron()"),
        (lambda: S().at_boot().monday().at("9:00"), "monday() does not go with at_boot()"),
        (lambda: S().every(5).monday().at("9:00"), "monday() does not go with every()"),
        (lambda: S().monday().at("9:00").friday(), "friday() comes after at(): name all days first"),
        (lambda: S().monday().month_day(1).at("9:00"), "cron() can say either"),
        (lambda: S().last_day().weekdays().at("9:00"), "cron() can say either"),
        (lambda: S().month_day().at("9:00"), "names no day: 1 to 31"),
        (lambda: S().cron("@reboot").cron("@daily"), "one form"),
    ],
)
def test_what_does_not_fit_together_is_refused(chain: Callable[[], Schedule], says: str) -> None:
    assert says in refusal(chain)


@pytest.mark.parametrize("n", [0, -1, 1.5, "5", True, None, 10**30, 3650 * 86400 + 1])
def test_a_period_is_a_whole_number_from_1_to_ten_years(n: object) -> None:
    assert "whole number from 1 to 315360000" in refusal(lambda: S().every(n).seconds())  # type: ignore[arg-type]


def test_ten_years_bound_every_unit() -> None:
    assert "every(n).hours() is 87601: a whole number from 1 to 87600" in refusal(
        lambda: S().every(87601).hours()
    )


@pytest.mark.parametrize("day", [0, 32, -1, "1", True, 1.0])
def test_days_of_the_month_go_from_1_to_31(day: object) -> None:
    assert "1 to 31" in refusal(lambda: S().month_day(day).at("9:00"))  # type: ignore[arg-type]


def test_an_unknown_zone_is_refused_with_the_nearest() -> None:
    chain = S().every_day().at("9:00")

    assert "is 'Africa/Nairobi' meant?" in refusal(lambda: chain.in_timezone("Africa/Nairobbi"))
    assert "is 'Africa/Nairobi' meant?" in refusal(lambda: chain.in_timezone("africa/nairobi"))
    assert "is 'Africa/Nairobi' meant?" in refusal(lambda: chain.in_timezone("nairobi"))
    assert "is 'America/New_York' meant?" in refusal(lambda: chain.in_timezone("new york"))


@pytest.mark.parametrize(
    "name", ["", "Europe", "../../etc/passwd", "/etc/localtime", "right/UTC", "a\0b", "é", 5, None]
)
def test_what_is_no_zone_is_refused(name: object) -> None:
    refusal(lambda: S().every_day().at("9:00").in_timezone(name))  # type: ignore[arg-type]


def test_jitter_is_shorter_than_the_time_between_two_firings() -> None:
    assert "shorter than the 1m from" in refusal(lambda: S().jitter("1m").every(60).seconds())
    assert "shorter than the 15m from" in refusal(lambda: S().cron("*/15 * * * *").jitter("15m"))
    assert "shorter than the 2h from" in refusal(lambda: S().every_day().at("23:00", "1:00").jitter("2h"))
    S().jitter("59s").every(1).minute().build()
    S().every_day().at("23:00").jitter("2h").build()
    S().at_boot().jitter("1h").build()


def test_a_boot_cannot_be_missed() -> None:
    assert "no boot can be missed" in refusal(lambda: S().at_boot().missed("once"))
    S().at_boot().missed("skip").build()


def test_limit_bounds_something() -> None:
    assert "bounds nothing" in refusal(lambda: S().every(1).hour().limit())
