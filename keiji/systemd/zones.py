"""A zone as systemd has to be told it, and the changes of its clocks that lie ahead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from pathlib import Path

from keiji import wallclock
from keiji.errors import UnsupportedHere

FOLDER = Path("/usr/share/zoneinfo")
_YEARS = 10
_DAY = 86400
_UTC = frozenset({
    "UTC", "UCT", "Universal", "Zulu", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich",
    "Etc/UTC", "Etc/UCT", "Etc/Universal", "Etc/Zulu", "Etc/GMT", "Etc/GMT0", "Etc/GMT+0", "Etc/GMT-0",
    "Etc/Greenwich",
})  # fmt: skip
# Names that systemd misreads, each with one of the same clocks. Dublin's winter is encoded as a daylight
# saving time of minus one hour: older systemd (252.36 still) fires without end in the hour before its
# clocks go forward. And a name that is an abbreviation in the machine's own zone is taken for just that.
_SAME_CLOCKS = {
    "Europe/Dublin": "Europe/London",
    "Eire": "Europe/London",
    "CET": "Europe/Brussels",
    "MET": "Europe/Brussels",
    "EET": "Europe/Athens",
    "WET": "Europe/Lisbon",
    "EST": "America/Panama",
    "MST": "America/Phoenix",
    "HST": "Pacific/Honolulu",
}


@dataclass(frozen=True)
class Change:
    """A change of a zone's offset from UTC: when (epoch), and the offset before and after, in seconds.

    `is_odd`: not between standard time and a daylight saving time that is ahead of it, or not at a full
    hour, or the first hour of a month comes twice. Across such a change systemd can skip times or a day,
    find a time in the past, or none at all any more.
    """

    at: int
    before: int
    after: int
    is_odd: bool = False

    @property
    def is_forward(self) -> bool:
        return self.after > self.before


@dataclass(frozen=True)
class Zone:
    """`name` as systemd shall read it, the offset now, and the changes until `horizon` (None: for ever)."""

    name: str
    clocks: tzinfo
    offset: int
    changes: tuple[Change, ...]
    horizon: datetime | None

    @property
    def keeps_minutes(self) -> bool:
        """Whether its clocks only ever change by whole hours."""
        return all((change.after - change.before) % 3600 == 0 for change in self.changes)


def ahead(name: str, now: datetime) -> Zone:
    """The zone `name` and its changes of ten years from `now`; `UnsupportedHere` when systemd has no such."""
    return _ahead(name, int(now.timestamp()) // _DAY)


@lru_cache(maxsize=256)
def _ahead(name: str, today: int) -> Zone:
    if name in _UTC:
        return Zone("UTC", timezone.utc, 0, (), None)
    start = datetime.fromtimestamp((today - 1) * _DAY, timezone.utc)  # yesterday's change may not be over
    end = start + timedelta(days=365.25 * _YEARS)
    known = _known(name, start, end)
    clocks = wallclock.zone_named(name)
    changes = tuple(_change(clocks, *found) for found in wallclock.transitions(name, start, end))
    return Zone(known, clocks, _seconds(start.astimezone(clocks).utcoffset()), changes, end)


def _known(name: str, start: datetime, end: datetime) -> str:
    """The name to tell systemd."""
    same = _SAME_CLOCKS.get(name, name)
    if (
        same != name
        and (FOLDER / same).is_file()
        and _reading(name, start, end) == _reading(same, start, end)
    ):
        return same
    if not (FOLDER / name).is_file():
        raise UnsupportedHere(
            f"in_timezone({name!r}): systemd finds no {FOLDER / name} on this machine; "
            "older names are in the package tzdata-legacy"
        )
    if same != name and "/" not in name:
        raise UnsupportedHere(
            f"in_timezone({name!r}): systemd takes that for an abbreviation; name a city's zone"
        )
    return name


def _reading(name: str, start: datetime, end: datetime) -> tuple[object, ...]:
    return start.astimezone(wallclock.zone_named(name)).utcoffset(), wallclock.transitions(name, start, end)


def _change(clocks: tzinfo, at: datetime, before: timedelta, after: timedelta) -> Change:
    instant = int(at.timestamp())
    saving = after - before if after > before else timedelta()
    repeated = at.astimezone(timezone(after))
    is_plain = (
        at.astimezone(clocks).dst() == saving
        and (at - timedelta(seconds=1)).astimezone(clocks).dst() == saving + before - after
        and (instant + _seconds(before)) % 3600 == 0
        and (after > before or (repeated.day, repeated.hour) != (1, 0))
    )
    return Change(instant, _seconds(before), _seconds(after), not is_plain)


def _seconds(offset: timedelta | None) -> int:
    return (offset or timedelta()) // timedelta(seconds=1)
