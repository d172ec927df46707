"""Durations, sizes and times of day, as authors write them."""

from __future__ import annotations

import pytest

from keiji import quantities
from keiji.errors import InvalidSchedule


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        (30, 30),
        (0.25, 0.25),
        ("30", 30),
        ("30s", 30),
        ("30 sec", 30),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("1h 30m", 5400),
        ("1h30m", 5400),
        (" 2 hours 5 minutes ", 7500),
        ("1d", 86400),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_a_text_with_units(written: object, amount: float) -> None:
    assert quantities.seconds(written, "timeout", 0) == amount


@pytest.mark.parametrize(
    "written",
    ["", " ", "s", "1x", "1h 30", "30 1h", "-1s", "1e3", "1_000", "nan", "1..5s", "٣s", "1M", None, True, []],
)
def test_no_other_duration_is_read(written: object) -> None:
    with pytest.raises(InvalidSchedule, match="timeout is "):
        quantities.seconds(written, "timeout", 0)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0s"), (30, "30s"), (90.0, "1m30s"), (5400, "1h30m"), (0.25, "250ms"), (366 * 86400, "366d")],
)
def test_a_duration_is_written_so_that_it_can_be_read_again(amount: float, text: str) -> None:
    assert quantities.duration(amount) == text
    assert quantities.seconds(text, "timeout", 0) == amount


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("512M", 512 << 20),
        ("2g", 2 << 30),
        ("1.5G", 1536 << 20),
        ("16384 K", 16 << 20),
        (8 << 20, 8 << 20),
        ("1T", 1 << 40),
    ],
)
def test_memory_is_bytes_or_a_text_with_a_binary_unit(written: object, amount: int) -> None:
    assert quantities.memory(written) == amount


@pytest.mark.parametrize("written", ["", "M", "512MB", "-1G", "7M", 1, 2.5, True, "1P", "9" * 30])
def test_no_other_memory_is_read(written: object) -> None:
    with pytest.raises(InvalidSchedule, match="memory is "):
        quantities.memory(written)


def test_sizes_are_written_in_the_largest_whole_unit() -> None:
    assert [quantities.size(n) for n in (512 << 20, 1 << 30, 1536 << 20, 8_388_609)] == [
        "512M",
        "1G",
        "1536M",
        "8388609",
    ]


@pytest.mark.parametrize(
    ("written", "hour", "minute"),
    [
        ("22:00", 22, 0),
        ("10:00PM", 22, 0),
        ("10:00 pm", 22, 0),
        ("9:30am", 9, 30),
        ("09:30", 9, 30),
        ("12:00AM", 0, 0),
        ("12:30PM", 12, 30),
        ("0:05", 0, 5),
        ("23:59", 23, 59),
    ],
)
def test_a_time_of_day_is_read_in_both_clocks(written: str, hour: int, minute: int) -> None:
    assert quantities.time_of_day(written)[:2] == (hour, minute)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("25:00", "hours go from 0 to 23"),
        ("24:00", "hours go from 0 to 23"),
        ("13:00PM", "from 1 to 12; write '13:00'"),
        ("0:30AM", "from 1 to 12; write '12:30AM'"),
        ("10:60", "no time of day"),
        ("10", "no time of day: '22:00', '10:00PM' or '9:30am' is allowed"),
        ("10PM", "no time of day"),
        ("10:0", "no time of day"),
        ("10:00:00", "no time of day"),
        ("noon", "no time of day"),
        ("", "no time of day"),
        ("-1:00", "no time of day"),
        ("١٠:٠٠", "no time of day"),
        (1000, "no time of day"),
        (None, "no time of day"),
    ],
)
def test_no_other_time_of_day_is_read(written: object, says: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        quantities.time_of_day(written)

    assert says in caught.value.message


def test_a_long_value_is_shortened_in_messages() -> None:
    assert len(quantities.shown("x" * 1000)) == 60
    assert quantities.shown(10**5000) == "a huge number"
