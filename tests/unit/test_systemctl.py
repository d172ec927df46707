"""What `systemctl show` prints, read back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from keiji.systemd import systemctl


def test_a_moment_is_read_in_utc():
    shown = systemctl.moment("Mon 2026-11-23 12:32:00 UTC")

    assert shown == datetime(2026, 11, 23, 12, 32, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["", "n/a"])
def test_no_moment_is_none(text):
    assert systemctl.moment(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45min 43.753243s", 2743.753243), ("1d 2h", 93600), ("350ms", 0.35), ("1w 1us", 604800.000001)],
)
def test_a_span_is_the_sum_of_its_parts(text, seconds):
    assert systemctl.span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["infinity", "0", ""])
def test_no_span_is_none(text):
    assert systemctl.span(text) is None
