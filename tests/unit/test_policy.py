"""How runs are treated: the values, their bounds and their text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keiji.errors import InvalidSchedule
from keiji.policy import Policy
from keiji.schedule import Schedule

HOURLY = Schedule().every(1).hour()


def test_refinements_are_numbers_in_one_unit() -> None:
    schedule = (
        HOURLY.retry(tries=3, delay="5s", backoff=2)
        .timeout("1h 30m")
        .jitter("1m")
        .missed("skip")
        .limit(memory="512M", cpu="50%")
        .on_failure("continue")
    )

    assert schedule.policy == Policy(
        tries=3,
        delay=5,
        backoff=2,
        timeout=5400,
        jitter=60,
        missed="skip",
        memory=512 << 20,
        cpu=50,
        on_failure="continue",
    )


def test_nothing_set_means_one_try_without_bounds_that_holds_on_failure() -> None:
    policy = HOURLY.policy

    assert (policy.tries, policy.delay, policy.backoff) == (1, 0, 1)
    assert policy.timeout is policy.memory is policy.cpu is policy.missed is policy.timezone is None
    assert policy.on_failure == "hold"


def test_two_limits_add_up() -> None:
    assert HOURLY.limit(memory="1G").limit(cpu=150) == HOURLY.limit("1G", "150%")


@pytest.mark.parametrize(
    ("refine", "says"),
    [
        (lambda: HOURLY.retry(0), "retry's tries is 0: a whole number from 1 to 100"),
        (lambda: HOURLY.retry(True), "retry's tries is True"),
        (lambda: HOURLY.retry(10**30), "retry's tries is a huge number"),
        (lambda: HOURLY.retry(3, delay=-1), "retry's delay is -1"),
        (lambda: HOURLY.retry(3, delay="soon"), "retry's delay is 'soon': seconds or a text such as"),
        (lambda: HOURLY.retry(3, backoff=0.5), "retry's backoff is 0.5: a number from 1 to 100"),
        (lambda: HOURLY.retry(3, backoff=float("nan")), "retry's backoff is nan"),
        (lambda: HOURLY.retry(100, delay=1, backoff=2), "retry's delays grow beyond a year"),
        (lambda: HOURLY.timeout(0), "timeout is 0: seconds or a text such as '30s', '1h 30m'"),
        (lambda: HOURLY.timeout("400d"), "from 1ms to 366d"),
        (lambda: HOURLY.timeout(float("inf")), "timeout is inf"),
        (lambda: HOURLY.timeout(None), "timeout is None"),
        (lambda: HOURLY.jitter(-1), "jitter is -1"),
        (lambda: HOURLY.jitter("2d"), "from 0s to 1d"),
        (lambda: HOURLY.missed("never"), "missed is 'never': 'once' or 'skip' is allowed"),
        (lambda: HOURLY.missed(["once"]), "missed is ['once']"),
        (lambda: HOURLY.on_failure("ignore"), "on_failure is 'ignore': 'hold' or 'continue' is allowed"),
        (lambda: HOURLY.limit(memory="1"), "memory is '1': bytes or a text such as '512M', '2G'"),
        (lambda: HOURLY.limit(memory="lots"), "memory is 'lots'"),
        (lambda: HOURLY.limit(memory=10**40), "from 8M to 1024T"),
        (lambda: HOURLY.limit(cpu="0%"), "cpu is '0%': a whole percentage of one processor"),
        (lambda: HOURLY.limit(cpu=0.5), "cpu is 0.5"),
        (lambda: HOURLY.limit(cpu="half"), "cpu is 'half'"),
    ],
)
def test_what_is_out_of_bounds_is_refused(refine: Callable[[], Schedule], says: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        refine()

    assert says in caught.value.message


def test_waits_that_never_happen_make_no_difference() -> None:
    assert HOURLY.retry(1, delay=5, backoff=3) == HOURLY
    assert HOURLY.retry(2, delay=5, backoff=3) == HOURLY.retry(2, delay=5)
    assert HOURLY.retry(3, delay=5, backoff=3) != HOURLY.retry(3, delay=5)


def test_the_text_holds_what_was_set() -> None:
    refined = (
        HOURLY.in_timezone("Africa/Nairobi").retry(3, 2.5, 1.5).timeout(90).limit("10000K", 50).missed("once")
    )

    assert refined.policy.texts() == [
        "timezone:Africa/Nairobi",
        "tries:3",
        "delay:2s500ms",
        "backoff:1.5",
        "timeout:1m30s",
        "missed:once",
        "memory:10000K",
        "cpu:50%",
    ]
