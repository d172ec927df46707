"""Having the manager follow the unit files: it reads what changed, and waits for what is due.

Before a unit file is first written its task is marked; the mark goes when the manager has read the file
and the timer waits. So a build or an update that was cut short is brought to its end by whoever comes next.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from keiji import files, marks
from keiji.folders import Folders
from keiji.host import Host, Rendered


def write_units(folders: Folders, slug: str, rendered: Rendered) -> dict[Path, str | None]:
    """Write the unit files that differ; what they held before (None: no such file)."""
    was = {path: files.read(path) for path in rendered}
    differing = {path: text for path, text in rendered.items() if was[path] != text}
    if differing:
        marks.mark(folders, slug)
    for path, text in differing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text, mode=0o644)
    return {path: was[path] for path in differing}


def is_due(folders: Folders, host: Host, slug: str) -> bool:
    """Whether the task's timer should wait, while the system is started."""
    return host.is_enabled(slug) and not folders.held(slug).exists()


def bring_up(folders: Folders, host: Host, slugs: Sequence[str], new: Collection[str] = ()) -> list[str]:
    """Reload if a marked task is among `slugs`, then arm those that are due; those that would not wait.

    `new`: tasks that the manager has never loaded, which need no reload. The caller holds the tasks'
    locks. Raises `HostFailed`; the marks then stay.
    """
    marked = [slug for slug in slugs if folders.stale(slug).exists()]
    known = [slug for slug in marked if slug not in new]
    rested = _rest(folders, host, known)
    if known:
        host.reload()
    idle = _arm(folders, host, slugs, rested)
    for slug in marked:
        if slug not in idle:
            marks.unmark(folders, slug)
    return idle


def _rest(folders: Folders, host: Host, slugs: Sequence[str]) -> dict[str, float]:
    """Disarm the marked tasks; since when each has only rested to be changed.

    A changed timer that stays active through the reload may find a time of its new schedule in the past
    and fire at once. What is due from now until it is armed again is caught up; where a directive was cut
    short that had disarmed it, what was due since then.
    """
    if not slugs:
        return {}
    rested: dict[str, float] = {}
    active = [slug for slug, timer in host.timers(slugs).items() if timer.is_active]
    for slug in slugs:
        if marks.why(folders, slug) != marks.UNITS:
            rested[slug] = marks.since(folders, slug)
    rested |= dict.fromkeys(active, time.time())
    host.disarm(active)
    return rested


def _arm(folders: Folders, host: Host, slugs: Sequence[str], rested: dict[str, float]) -> list[str]:
    if not host.is_started():
        return []
    due = [slug for slug in slugs if is_due(folders, host, slug)]
    timers = host.timers(due)
    idle = host.arm([slug for slug in due if not timers[slug].is_active], rested)
    return [
        slug for slug in idle if is_due(folders, host, slug)
    ]  # one that was held meanwhile has not failed
