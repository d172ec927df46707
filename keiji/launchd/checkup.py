"""What may be wrong with launchd and keiji's agents, each with its remedy."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from keiji import files
from keiji.errors import HostFailed
from keiji.findings import FOLDERS, MANAGER, Check, Finding, error, warning
from keiji.folders import Folders
from keiji.launchd import arming, launchctl, names
from keiji.task import Task

_UPDATE = "`keiji system update`"


def checks(folders: Folders, wanted: Mapping[str, str]) -> list[Check]:
    """In the order in which one fault may be the next one's cause."""
    return [
        Check(MANAGER, manager),
        Check("own-agents", lambda: own(wanted), (FOLDERS, MANAGER)),
        Check("switched-off", lambda: switched_off(folders), (FOLDERS, MANAGER)),
    ]


def manager() -> Iterator[Finding]:
    try:
        gui, user = launchctl.domains()
        if launchctl.call("print", gui).returncode == 0:
            return
        if launchctl.call("print", user).returncode != 0:
            yield error("launchd answers for no session of yours", "log in at the screen")
            return
    except HostFailed as problem:
        yield error(f"launchd can't be asked: {problem.message}", "log in at the screen")
        return
    said = "nobody is logged in at the screen: tasks will not start by themselves after a reboot"
    yield warning(said, "log in at the screen, then `keiji system start`")


def own(wanted: Mapping[str, str]) -> Iterator[Finding]:
    """Whether keiji's own agents are as they would be written now."""
    for name, text in wanted.items():
        found = files.read(names.agent_folder() / name)
        if found is None:
            yield error(f"{name} is gone", "`keiji init`")
        elif found != text:
            yield error(f"{name} is not what keiji writes now", _UPDATE)


def switched_off(folders: Folders) -> Iterator[Finding]:
    """Agents that should run and that somebody has switched off."""
    if not arming.state(folders, "started").exists():
        return
    off = launchctl.disabled(launchctl.domain())
    where = "allow it in System Settings > General > Login Items, then `keiji system start`"
    for slug in arming.installed():
        if off.get(names.task(slug)) and not arming.state(folders, "disabled", slug).exists():
            yield error("its agent is switched off in launchd", where, slug)
    if off.get(names.HOUSEKEEPING):
        yield error(f"{names.HOUSEKEEPING} is switched off in launchd", where)


def of_task(folders: Folders, task: Task, wanted: Mapping[Path, str]) -> Iterator[Finding]:
    """What is wrong with the task's plist, of which `wanted` is what would be written now."""
    for path, text in wanted.items():
        found = files.read(path)
        if found is None:
            yield error(f"{path.name} is gone", _UPDATE, task.slug)
            continue
        if found != text:
            yield error(f"{path.name} is not what keiji writes now", _UPDATE, task.slug)
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            yield error(f"{path.name} is a link, which launchd ignores at login", _UPDATE, task.slug)
        elif status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            remedy = f"`chmod 644 {path}`"
            yield error(f"{path.name} is not yours alone to write: launchd refuses it", remedy, task.slug)
        program = (arming.read(path).get("ProgramArguments") or [""])[0]
        if not os.access(program, os.X_OK):
            said = f"{program}, which runs it, is gone"
            yield error(said, f"`keiji task build {task.slug}`", task.slug)
