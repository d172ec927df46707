"""Forms as `OnCalendar=` expressions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keiji.forms import Cron
from keiji.schedule import Schedule
from keiji.systemd import expressions

DIVISORS = [seconds for seconds in range(1, 86401) if 86400 % seconds == 0]


def of_clock(schedule: Schedule) -> tuple[str, ...]:
    return expressions.of_clock(schedule.form, "Europe/Berlin")


@pytest.mark.parametrize(
    ("seconds", "phase", "expected"),
    [
        (1, 0, ["*-*-* *:*:* UTC"]),
        (1, 0.25, ["*-*-* *:*:00.250/1 UTC"]),
        (3, 1.029, ["*-*-* *:*:01.029/3 UTC"]),
        (8, 1, ["*-*-* *:00/2:01..57/8 UTC", "*-*-* *:01/2:05..53/8 UTC"]),
        (10, 3, ["*-*-* *:*:03/10 UTC"]),
        (30, 5, ["*-*-* *:*:05/30 UTC"]),
        (60, 7, ["*-*-* *:*:07 UTC"]),
        (90, 9, ["*-*-* *:00/3:09 UTC", "*-*-* *:01/3:39 UTC"]),
        (900, 61, ["*-*-* *:01/15:01 UTC"]),
        (3600, 1800, ["*-*-* *:30:00 UTC"]),
        (5400, 0, ["*-*-* 00/3:00:00 UTC", "*-*-* 01/3:30:00 UTC"]),
        (7200, 4400, ["*-*-* 01/2:13:20 UTC"]),
        (86400, 37629, ["*-*-* 10:27:09 UTC"]),
    ],
)
def test_a_period_is_few_expressions_in_utc(seconds, phase, expected):
    assert expressions.of_period(seconds, timedelta(seconds=phase)) == tuple(expected)


def test_no_period_needs_very_many_expressions():
    assert max(len(expressions.of_period(seconds, timedelta(seconds=1))) for seconds in DIVISORS) == 120


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule().on().friday().at("10:00PM"), ["Fri *-*-* 22:00:00"]),
        (Schedule().on().monday().friday().at("9:00"), ["Mon,Fri *-*-* 09:00:00"]),
        (Schedule().on().weekdays().at("09:00"), ["Mon..Fri *-*-* 09:00:00"]),
        (Schedule().on().every_day().at("08:00", "20:00"), ["*-*-* 08,20:00:00"]),
        (
            Schedule().on().every_day().at("09:00", "17:30"),
            ["*-*-* 09:00:00", "*-*-* 17:30:00"],
        ),
        (Schedule().on().month_day(1, 15).at("03:05"), ["*-*-01,15 03:05:00"]),
        (Schedule().on().last_day().at("23:59"), ["*-*~01 23:59:00"]),
    ],
)
def test_wall_clocks_name_their_days_times_and_zone(schedule, expected):
    assert of_clock(schedule) == tuple(f"{line} Europe/Berlin" for line in expected)


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("*/15 9-17 * * mon-fri", ["Mon..Fri *-*-* 09..17:00..45/15:00"]),
        ("5,45 */12 * jan,jun *", ["*-01,06-* 00,12:05,45:00"]),
        ("30 */2 * * *", ["*-*-* 00..22/2:30:00"]),
        ("0 4 1,15 * *", ["*-*-01,15 04:00:00"]),
    ],
)
def test_a_cron_expression_is_one_whose_steps_have_an_end(cron, expected):
    assert of_clock(Schedule().cron(cron)) == tuple(f"{line} Europe/Berlin" for line in expected)


def test_either_of_two_restricted_day_fields_is_enough():
    lines = of_clock(Schedule().cron("0 4 1,15 * mon"))

    assert lines == ("*-*-01,15 04:00:00 Europe/Berlin", "Mon *-*-* 04:00:00 Europe/Berlin")


def test_a_day_field_with_a_star_must_match_too():
    lines = of_clock(Schedule().cron("0 4 */10 * mon"))

    assert lines == ("Mon *-*-01..31/10 04:00:00 Europe/Berlin",)


@pytest.mark.parametrize(
    ("cron", "offset", "expected"),
    [
        ("*/5 * * * *", 7200, "*-*-* *:00/5:00 UTC"),
        ("* * * * *", 3600, "*-*-* *:*:00 UTC"),
        ("10 * * * *", 19800, "*-*-* *:40:00 UTC"),  # India: 5 h 30 min
        ("*/40 * * * *", -12600, "*-*-* *:10,30:00 UTC"),
    ],
)
def test_every_hour_of_every_day_goes_by_utc(cron, offset, expected):
    form = Schedule().cron(cron).form
    assert isinstance(form, Cron)

    assert expressions.of_elapsed(form, offset) == (expected,)


@pytest.mark.parametrize("cron", ["0 9 * * *", "*/5 9-17 * * *", "0 * * * mon", "0 * 1 * *", "0 0-23 * * *"])
def test_what_depends_on_the_day_or_is_no_wildcard_does_not(cron):
    form = Schedule().cron(cron).form
    assert isinstance(form, Cron)

    assert expressions.of_elapsed(form, 0) is None
