"""keiji's own agents, and what has all agents run or rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from keiji import files
from keiji.errors import NotInitialised
from keiji.folders import Folders
from keiji.launchd import arming, launchctl, loading, names
from keiji.logfiles import SCHEDULER

BUS_PATIENCE = 150.0
"""Seconds in which the bus finishes what is in flight."""

_OWN = (names.HOUSEKEEPING, names.STARTUP)
_WRITTEN = "<!-- Written by keiji."
Tell = Callable[[str, str, str], object]


def install(folders: Folders, choose_port: Callable[[], object] | None) -> list[str]:
    """Write keiji's own agents and have launchd load those that are to run; the files that changed."""
    names.agent_folder().mkdir(parents=True, exist_ok=True)
    changed = []
    if choose_port:
        choose_port()
    for name, text in wanted(folders).items():
        path, label = names.agent_folder() / name, name[: -len(".plist")]
        is_wanted = label == names.BUS or is_to_run(folders)
        if files.read(path) != text:
            loading.unload(label, BUS_PATIENCE if label == names.BUS else 20)
            files.write(path, text, mode=0o644)
            loading.switch(label, is_wanted)
            changed.append(name)
        if is_wanted and not launchctl.find(label) and not is_kept_down(label):
            loading.load(folders, label)
    return changed


def remove(folders: Folders, tell: Tell) -> None:
    """Unload and remove every agent of keiji's, and what launchd's override store says of them."""
    stop(folders, tell)
    written = {path.stem: path for path in names.agent_folder().glob("io.keiji.*.plist") if _is_ours(path)}
    overrides = [name for name in launchctl.disabled(launchctl.domain()) if name.startswith("io.keiji.")]
    for label in {*written, *launchctl.loaded()}:
        loading.unload(label, BUS_PATIENCE if label == names.BUS else 20)
    for path in written.values():
        path.unlink(missing_ok=True)
    for label in {*written, *overrides}:
        loading.switch(label, True)  # launchd has no other way to forget


def start(folders: Folders, boot: str, tell: Tell) -> tuple[list[str], list[str]]:
    """Have launchd wait for the enabled tasks' times, also after a login: those armed, and the others."""
    if not names.plist(names.HOUSEKEEPING).exists():
        raise NotInitialised("keiji's own agents are not installed here: `keiji init` installs them")
    arming.mark(_started(folders), True)
    for label in _OWN:
        loading.switch(label, True)
        if not launchctl.find(label):
            loading.load(folders, label)
    enabled = [slug for slug in arming.installed() if is_enabled(folders, slug)]
    for slug in enabled:
        loading.switch(names.task(slug), True)
    due = [slug for slug in enabled if not folders.held(slug).exists()]
    arming.arm(folders, due, boot, {})
    timers = arming.timers(folders, due)
    idle = [slug for slug in due if not timers[slug].is_active]
    tell(SCHEDULER, "INFO", f"started: {len(due) - len(idle)} tasks wait for their time")
    return [slug for slug in due if slug not in idle], idle


def stop(folders: Folders, tell: Tell) -> None:
    """Have no task begin any more, also after the next login; runs in progress go on.

    Until the last step it counts as started: one that is cut short is found at fault by the doctor, and
    brought to its end by the next stop or start.
    """
    _rest(folders, arming.installed())
    for label in _OWN:
        loading.switch(label, False)
        if os.environ.get("XPC_SERVICE_NAME") != label:
            loading.unload(label)
    if is_to_run(folders):
        tell(SCHEDULER, "INFO", "stopped: no task begins")
    arming.mark(_started(folders), False)
    _rest(folders, arming.firing(folders))  # what housekeeping, or a build, has armed meanwhile


def _rest(folders: Folders, slugs: list[str]) -> None:
    arming.disarm(folders, slugs)
    for slug in slugs:
        loading.switch(names.task(slug), False)


def wanted(folders: Folders) -> dict[str, str]:
    """keiji's own agents; the bus as soon as it has a port."""
    from keiji.launchd import plists

    texts = plists.render_own(folders)
    port = _port(folders)
    return {**texts, f"{names.BUS}.plist": plists.render_bus(folders, port)} if port else texts


def _is_ours(path: Path) -> bool:
    return _WRITTEN in (files.read(path) or "")


def _port(folders: Folders) -> int:
    """The bus's port; 0 before it has one."""
    try:
        return int(json.loads(files.read(folders.run / "bus.json") or "{}").get("port", 0))
    except (ValueError, AttributeError, TypeError):
        return 0


def is_to_run(folders: Folders) -> bool:
    """Whether the system was started; launchd's override store follows that."""
    return _started(folders).exists()


def is_kept_down(label: str) -> bool:
    """Whether somebody has switched the agent off."""
    return launchctl.disabled(launchctl.domain()).get(label, False)


def is_enabled(folders: Folders, slug: str) -> bool:
    """Whether the task has an agent and is not disabled."""
    return names.plist(names.task(slug)).exists() and not arming.state(folders, "disabled", slug).exists()


def _started(folders: Folders) -> Path:
    return arming.state(folders, "started")
