"""What systemctl prints, read back."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from keiji.systemd import systemctl


def test_a_moment_is_read_in_utc():
    shown = systemctl.moment("Mon 2026-11-23 12:32:00 UTC")

    assert shown == datetime(2026, 11, 23, 12, 32, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["", "n/a", "-", "- - Mon 2026-11-23"])
def test_no_moment_is_none(text):
    assert systemctl.moment(text) is None
