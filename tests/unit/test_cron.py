"""Reading cron expressions."""

from __future__ import annotations

import pytest

from keiji import cron
from keiji.errors import InvalidSchedule

ALL = {"minutes": 60, "hours": 24, "month_days": 31, "months": 12, "weekdays": 7}


@pytest.mark.parametrize(
    ("expression", "field", "values"),
    [
        ("*/15 * * * *", "minutes", (0, 15, 30, 45)),
        ("5-20/5 * * * *", "minutes", (5, 10, 15, 20)),
        ("7,3,3,1-2 * * * *", "minutes", (1, 2, 3, 7)),
        ("*,5 * * * *", "minutes", tuple(range(60))),
        ("*/60 * * * *", "minutes", (0,)),
        ("0 9-17 * * *", "hours", tuple(range(9, 18))),
        ("0 0 */10 * *", "month_days", (1, 11, 21, 31)),
        ("0 0 * jan,MAR-May *", "months", (1, 3, 4, 5)),
        ("0 0 * * mon-fri", "weekdays", (0, 1, 2, 3, 4)),
        ("0 0 * * Sun", "weekdays", (6,)),
        ("0 0 * * 0", "weekdays", (6,)),
        ("0 0 * * 7", "weekdays", (6,)),
        ("0 0 * * 5-7", "weekdays", (4, 5, 6)),
        ("0 0 * * 0-7", "weekdays", (0, 1, 2, 3, 4, 5, 6)),
        ("0 0 * * */2", "weekdays", (1, 3, 5, 6)),  # Sunday, Tuesday, Thursday, Saturday
    ],
)
def test_a_field_is_read_as_cron_reads_it(expression: str, field: str, values: tuple[int, ...]) -> None:
    """Weekdays of the value have Monday as 0."""
    assert getattr(cron.parse(expression), field) == values


@pytest.mark.parametrize(
    ("nickname", "expression"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_a_nickname_says_the_same_as_its_expression(nickname: str, expression: str) -> None:
    assert cron.parse(nickname) == cron.parse(expression)
    assert str(cron.parse(nickname)) == f"cron:{nickname}"


@pytest.mark.parametrize(
    ("expression", "either"),
    [
        ("0 0 1 * mon", True),
        ("0 0 1-31 * mon", True),
        ("0 0 * * mon", False),
        ("0 0 1 * *", False),
        ("0 0 */2 * mon", False),  # begins with *: Debian's cron wants both
        ("0 0 1 * */2", False),
    ],
)
def test_one_day_field_is_enough_unless_one_begins_with_a_star(expression: str, either: bool) -> None:
    assert cron.parse(expression).either is either


@pytest.mark.parametrize(
    ("expression", "wildcard"),
    [
        ("* 2 * * *", True),
        ("*/5 2 * * *", True),
        ("0 * * * *", True),
        ("0 0-23 * * *", False),
        ("30 2 * * *", False),
    ],
)
def test_a_wildcard_is_a_star_at_the_head_of_minute_or_hour(expression: str, wildcard: bool) -> None:
    assert cron.parse(expression).wildcard is wildcard


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("60 * * * *", "cron's minute is '60': 0 to 59 is allowed"),
        ("* 24 * * *", "cron's hour is '24': 0 to 23 is allowed"),
        ("* * 0 * *", "cron's day of month is '0': 1 to 31 is allowed"),
        ("* * * 13 *", "cron's month is '13': 1 to 12 or jan to dec is allowed"),
        ("* * * * 8", "cron's day of week is '8': 0 to 7 or sun to sat is allowed"),
        ("* * * * monday", "cron's day of week is 'monday'"),
        ("mon * * * *", "cron's minute is 'mon'"),
        ("-5 * * * *", "cron's minute is ''"),
        ("1- * * * *", "cron's minute is ''"),
        ("1,,2 * * * *", "cron's minute is ''"),
        ("1.5 * * * *", "cron's minute is '1.5'"),
        ("٣ * * * *", "cron's minute is"),
        ("? * * * *", "cron's minute is '?'"),
        ("* * L * *", "cron's day of month is 'L'"),
        ("* * * * 1#2", "cron's day of week is '1#2'"),
        ("*/0 * * * *", "cron's minute has the step '0': 1 to 60 is allowed"),
        ("*/90 * * * *", "cron's minute has the step '90': 1 to 60 is allowed"),
        ("*/ * * * *", "cron's minute has the step ''"),
        ("*/5/5 * * * *", "cron's minute has the step '5/5'"),
        ("5/15 * * * *", "a step needs '*' or a range, such as '5-59/15'"),
        ("* 22-2 * * *", "cron's hour '22-2' runs backwards: write it as a list, such as '22-23,0-2'"),
        ("* * * * sat-sun", "such as '6,0'"),
        ("* * * *", "has 4 fields: five are allowed, minute, hour, day of month, month, day of week"),
        ("0 * * * * *", "has 6 fields"),
        ("", "has 0 fields"),
        (
            "@fortnightly",
            "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, @reboot are allowed",
        ),
        ("0 0 30 2 *", "never comes: none of its months has a day 30"),
        ("0 0 31 feb,apr,jun *", "never comes: none of its months has a day 31"),
        (None, "a text such as '*/15 9-17 * * mon-fri' is allowed"),
        (5, "a text such as"),
    ],
)
def test_what_cron_would_refuse_or_never_run_is_refused(expression: object, says: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        cron.parse(expression)

    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_a_day_that_never_comes_may_stand_beside_a_weekday() -> None:
    assert cron.parse("0 0 30 2 mon").either


def test_spaces_are_tidied_and_the_rest_is_kept_as_written() -> None:
    assert str(cron.parse("  */15\t9-17 *  * Mon-FRI ")) == "cron:*/15 9-17 * * Mon-FRI"
