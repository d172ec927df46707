"""Having the manager follow the unit files: it reads what changed, and waits for what is due.

Before a unit file is first written its task is marked; the mark goes when the manager has read the file
and the timer waits. So a build or an update that was cut short is brought to its end by the next one, or
by housekeeping.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path

from keiji import files
from keiji.folders import Folders
from keiji.host import Rendered
from keiji.session import Session


def write_units(folders: Folders, slug: str, rendered: Rendered) -> dict[Path, str | None]:
    """Write the unit files that differ; what they held before (None: no such file)."""
    was = {path: files.read(path) for path in rendered}
    differing = {path: text for path, text in rendered.items() if was[path] != text}
    if differing:
        mark(folders, slug)
    for path, text in differing.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text, mode=0o644)
    return {path: was[path] for path in differing}


def mark(folders: Folders, slug: str) -> None:
    """Note that the manager may not know the task's unit files as they are."""
    folders.stale(slug).parent.mkdir(mode=0o700, exist_ok=True)
    files.write(folders.stale(slug), "")


def is_due(session: Session, slug: str) -> bool:
    """Whether the task's timer should wait, while the system is started."""
    return session.host.is_enabled(slug) and not session.folders.held(slug).exists()


def bring_up(session: Session, slugs: Sequence[str], new: Collection[str] = ()) -> list[str]:
    """Reload if a marked task is among `slugs`, then arm those that are due; those that would not wait.

    `new`: tasks that the manager has never loaded, which need no reload. The caller holds the tasks'
    locks. Raises `HostFailed`; the marks then stay.
    """
    host, folders = session.host, session.folders
    marked = [slug for slug in slugs if folders.stale(slug).exists()]
    known = [slug for slug in marked if slug not in new]
    rested: dict[str, float] = {}
    if known:
        # A changed timer that stays active through the reload may find a time of its new schedule in
        # the past and fire at once. What is due from now until it is armed again is caught up.
        active = [slug for slug, timer in host.timers(known).items() if timer.is_active]
        rested = dict.fromkeys(active, time.time())
        host.disarm(active)
        host.reload()
    idle = _arm(session, slugs, rested)
    for slug in marked:
        if slug not in idle:
            folders.stale(slug).unlink(missing_ok=True)
    return idle


def _arm(session: Session, slugs: Sequence[str], rested: dict[str, float]) -> list[str]:
    if not session.host.is_started():
        return []
    due = [slug for slug in slugs if is_due(session, slug)]
    timers = session.host.timers(due)
    idle = session.host.arm([slug for slug in due if not timers[slug].is_active], rested)
    return [slug for slug in idle if is_due(session, slug)]  # one that was held meanwhile has not failed
