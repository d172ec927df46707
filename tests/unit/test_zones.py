"""Zones as systemd has to be told them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from keiji.errors import UnsupportedHere
from keiji.systemd import zones

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
THEN = datetime(2020, 1, 1, tzinfo=timezone.utc)  # the rules of what is past stay as they are
BERLIN_FORWARD = datetime(2027, 3, 28, 1, tzinfo=timezone.utc)


def test_ten_years_of_changes_are_known_ahead():
    zone = zones.ahead("Europe/Berlin", NOW)

    assert zone.changes[0] == zones.Change(int(BERLIN_FORWARD.timestamp()), 3600, 7200)
    assert len(zone.changes) == 20
    assert zone.horizon is not None
    assert zone.horizon.year == 2036


def test_a_change_of_this_day_is_still_ahead():
    during = BERLIN_FORWARD.replace(hour=23)

    assert zones.ahead("Europe/Berlin", during).changes[0].at == BERLIN_FORWARD.timestamp()


@pytest.mark.parametrize("name", ["UTC", "GMT", "Etc/UTC", "Zulu"])
def test_the_names_of_utc_need_no_looking_ahead(name):
    zone = zones.ahead(name, NOW)

    assert (zone.name, zone.changes, zone.horizon) == ("UTC", (), None)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Europe/Dublin", "Europe/London"),
        ("CET", "Europe/Brussels"),
        ("EST", "America/Panama"),
        ("Africa/Casablanca", "Africa/Casablanca"),
    ],
)
def test_a_name_that_systemd_misreads_is_told_by_one_of_the_same_clocks(name, told):
    if not (zones.FOLDER / name).exists():
        pytest.skip("needs the package tzdata-legacy")
    assert zones.ahead(name, NOW).name == told


@pytest.mark.parametrize(
    ("name", "is_odd"),
    [
        ("Europe/Berlin", False),
        ("America/Santiago", False),
        ("Australia/Lord_Howe", False),
        ("Africa/Casablanca", True),  # daylight saving time of minus one hour
        ("Pacific/Chatham", True),  # at 02:45
    ],
)
def test_changes_across_which_systemd_goes_astray_are_odd(name, is_odd):
    assert any(change.is_odd for change in zones.ahead(name, THEN).changes) is is_odd


def test_a_repeated_first_hour_of_a_month_is_odd():
    changes = zones.ahead("America/Havana", THEN).changes

    assert [change.is_odd for change in changes[:4]] == [False, True, False, False]  # 1 November 2020


def test_a_zone_that_systemd_does_not_have_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(zones, "FOLDER", tmp_path)
    zones._ahead.cache_clear()

    with pytest.raises(UnsupportedHere, match=r"in_timezone\('Asia/Tokyo'\).*tzdata-legacy"):
        zones.ahead("Asia/Tokyo", NOW)
