"""What goes before a timer is started deliberately, and the look at it after."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from keiji import files
from keiji.folders import Folders
from keiji.systemd import names, systemctl


def forgive_missed(
    folders: Folders, slugs: Collection[str], boot: str, rested: Mapping[str, float] | None = None
) -> None:
    """See that nothing fires at once because of the arming, which is no missed run.

    A persistent timer fires at once when its stamp is older than a due time, and the runner's guards go by
    their own note of what was last due. `boot`: which boot of the machine this is. `rested`: since when
    (epoch seconds) a timer has only rested to be changed; what was due since then is not forgiven.
    """
    stamps, units = names.stamp_folder(), names.unit_folder()
    stamped = listed(stamps)
    for slug in slugs:
        timer = names.timer(slug)
        since = (rested or {}).get(slug, time.time())
        if f"stamp-{timer}" in stamped:
            os.utime(stamps / f"stamp-{timer}", (since, since))
        kind = guard(units, timer)
        if kind:
            note = folders.last(slug)
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(note, f"{boot}\n" if kind == "boot" else f"{since:.6f}\n")


def not_waiting(slugs: Sequence[str]) -> list[str]:
    """The tasks whose timer was started and does not wait for a time.

    An active timer without a next time is "elapsed", as one for each boot is once it has fired.
    """
    states = systemctl.states([names.timer(slug) for slug in slugs], names.EVERY_TIMER)
    idle, units = [], names.unit_folder()
    for slug in slugs:
        active, sub = states.get(names.timer(slug), ("", ""))
        waits = active == "active" and sub in ("waiting", "running")
        if not waits and (active != "active" or guard(units, names.timer(slug)) != "boot"):
            idle.append(slug)
    return idle


def listed(folder: Path) -> frozenset[str]:
    """The names in a folder; none where there is no such folder. For a thousand tasks one look is cheaper."""
    try:
        return frozenset(os.listdir(folder))
    except FileNotFoundError:
        return frozenset()


def guard(units: Path, timer: str) -> str:
    """What the runner checks by its own note, from the timer's file: ``boot``, ``period`` or nothing."""
    try:
        with open(f"{units}/{timer}", encoding="utf-8") as file:
            return file.read().partition("\nGuard=")[2].partition("\n")[0]
    except FileNotFoundError:
        return ""
