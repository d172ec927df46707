"""Whether what the manager goes by is what keiji's unit files say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from keiji import remedies
from keiji.findings import Finding, error, note, warning
from keiji.schedule import Schedule
from keiji.systemd import calendar, drop_ins, names, systemctl

_RELOAD = "systemctl --user daemon-reload"
_ASKED = ("Id", "DropInPaths", "NeedDaemonReload")
_LATE = timedelta(minutes=2)  # after which a time is another than the schedule's
_SHOWN = 3  # units


def findings(schedules: Mapping[str, Schedule]) -> Iterator[Finding]:
    """What is loaded beside keiji's files, or in their place; the tasks' schedules name their zones."""
    own = [names.BUS_SERVICE, names.HOUSEKEEPING, "io.keiji.*.service", names.TARGET]
    # A pattern is held against what is loaded; a thousand units take a second.
    shown = systemctl.show_all([*own, names.EVERY_TIMER, "keiji-*.service"], _ASKED)
    units = {unit["Id"]: unit for unit in shown if "Id" in unit}
    changed = _drop_ins(units)
    yield from (_drop_in(Path(path), found) for path, found in changed.items())
    old = [name for name, unit in units.items() if unit.get("NeedDaemonReload") == "yes"]
    if old:
        said = f"the manager has not read {_some(old)} since the last change on the disk"
        yield warning(said, f"`{_RELOAD}`")
    explained = {*old, *(name for found in changed.values() for name in found)}
    yield from _late({slug: it for slug, it in schedules.items() if names.timer(slug) not in explained})


# -- drop-ins --------------------------------------------------------------------------------


def _drop_ins(units: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """The drop-ins that are neither keiji's nor the system's: path → the units that it changes."""
    changed: dict[str, list[str]] = {}
    for name, unit in units.items():
        for path in drop_ins.foreign(unit):
            changed.setdefault(path, []).append(name)
    return changed


def _drop_in(path: Path, units: list[str]) -> Finding:
    remove = f"rm {remedies.word(path)}"
    if not os.access(path.parent, os.W_OK):
        remove = remedies.as_root(remove)
    remedy = f"if that is not meant: `{remove} && {_RELOAD}`"
    if drop_ins.is_mild(path):
        return note(f"{path} changes {_some(units)}", remedy)
    return warning(f"{path} changes whether, when or how {_some(units)} run", remedy)


# -- next times ------------------------------------------------------------------------------


def _late(schedules: Mapping[str, Schedule]) -> Iterator[Finding]:
    """Whose timer waits for a time after that of its schedule. An earlier one may be a firing to drop."""
    now = datetime.now(timezone.utc)
    elapses = systemctl.elapses([names.timer(slug) for slug in schedules], names.EVERY_TIMER)
    for slug, schedule in schedules.items():
        elapse = elapses.get(names.timer(slug))
        latest = _latest(schedule, slug, now) if elapse else None
        if elapse and latest and elapse > latest:
            said = f"its timer waits for {elapse:%Y-%m-%d %H:%M} UTC, which is not its schedule's next time"
            yield error(said, f"`{_RELOAD} && keiji task restart {slug}`", slug)


def _latest(schedule: Schedule, slug: str, now: datetime) -> datetime | None:
    """Until when the timer may wait."""
    plan = calendar.plan(schedule, slug, now)
    if plan.every is not None:
        return now + timedelta(seconds=plan.every + plan.jitter) + _LATE
    phase = timedelta(seconds=calendar.firing(schedule, slug).phase)
    due = schedule.next_times(now, 1, phase=phase)
    return due[0] + timedelta(seconds=plan.jitter) + _LATE if due else None


def _some(units: Iterable[str]) -> str:
    found = sorted(units)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more
