"""What may be wrong with launchd and keiji's agents, each with its remedy."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from keiji import files, remedies
from keiji.errors import HostFailed
from keiji.findings import FOLDERS, MANAGER, OWN_UNITS, UNIT_FOLDER, Check, Finding, error, warning
from keiji.folders import Folders
from keiji.launchd import arming, calendar, launchctl, loading, names
from keiji.task import Task

_UPDATE = "`keiji system update`"
_START = "`keiji system start`, and if that fails look at System Settings > General > Login Items"
_PORT = re.compile(r"<key>SockServiceName</key>\s*<string>(\d+)</string>")


def checks(
    folders: Folders, wanted: Mapping[str, str], ask_bus: Callable[[], object] | None = None
) -> list[Check]:
    """In the order in which one fault may be the next one's cause.

    `ask_bus`: whether the bus service answers.
    """
    return [
        Check(MANAGER, manager),
        Check(UNIT_FOLDER, folder),
        Check(OWN_UNITS, lambda: own(wanted), (FOLDERS, MANAGER, UNIT_FOLDER)),
        Check("agents", lambda: agents(folders, ask_bus), (FOLDERS, MANAGER, UNIT_FOLDER)),
        Check("switched-off", lambda: switched_off(folders), (FOLDERS, MANAGER)),
        Check("closed-folders", lambda: closed(folders)),
    ]


def manager() -> Iterator[Finding]:
    if not shutil.which("launchctl"):
        yield error("launchctl, by which keiji asks launchd, is not on PATH", '`export PATH="$PATH:/bin"`')
        return
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


def folder() -> Iterator[Finding]:
    """Whether keiji can look into the folder of agents, and write there."""
    path = names.agent_folder()
    if not path.is_dir():
        yield error(f"there is no folder {path}", "`keiji init`")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield error(f"{path} can't be read and written", f"`chmod u+rwx {remedies.word(path)}`")


def own(wanted: Mapping[str, str]) -> Iterator[Finding]:
    """Whether keiji's own agents are as they would be written now."""
    for name, text in wanted.items():
        found = files.read(names.agent_folder() / name)
        if found is None:
            yield error(f"{name} is gone", "`keiji init`")
        elif found != text:
            yield _moved(found, text) or error(f"{name} is not what keiji writes now", _UPDATE)


def _moved(found: str, wanted: str) -> Finding | None:
    """What to say where the bus listens elsewhere than its agent says, and nothing else differs."""
    was, now = _PORT.search(found), _PORT.search(wanted)
    if not was or not now or found.replace(was[0], now[0]) != wanted:
        return None
    said = f"another program had the bus's port {was[1]}, so that it listens at {now[1]}"
    return warning(said, f"{_UPDATE} has launchd listen there, too")


def agents(folders: Folders, ask_bus: Callable[[], object] | None = None) -> Iterator[Finding]:
    """Whether launchd has keiji's own agents: what Login Items forbid it doesn't load, without a word."""
    jobs, is_to_run = launchctl.loaded(), arming.state(folders, "started").exists()
    if is_to_run and names.HOUSEKEEPING not in jobs:
        yield error("the scheduler should be started, and is not: launchd has not loaded its agents", _START)
    elif not is_to_run and arming.firing(folders):
        said = "to stop the scheduler was cut short: tasks run on schedule still"
        yield warning(said, "`keiji system stop`, or `keiji system start`")
    elif not is_to_run and arming.installed():
        yield warning("the scheduler is stopped: no task runs on schedule", "`keiji system start`")
    if launchctl.disabled(launchctl.domain()).get(names.BUS):
        yield warning("the bus is stopped: every change of a task is refused", "`keiji system start --bus`")
    elif names.BUS not in jobs and names.plist(names.BUS).exists():
        yield warning("launchd has not loaded the bus's agent", _START)
    elif jobs.get(names.BUS) and ask_bus and ask_bus() is None:
        yield error("the bus runs and does not answer", "`keiji system restart --bus`")


def switched_off(folders: Folders) -> Iterator[Finding]:
    """Agents that should run and that somebody has switched off."""
    if not arming.state(folders, "started").exists():
        return
    off = launchctl.disabled(launchctl.domain())
    for slug in arming.installed():
        if off.get(names.task(slug)) and not arming.state(folders, "disabled", slug).exists():
            yield error("its agent is switched off in launchd", _START, slug)
    if off.get(names.HOUSEKEEPING):
        yield error(f"{names.HOUSEKEEPING} is switched off in launchd", _START)


def closed(folders: Folders) -> Iterator[Finding]:
    """Whether macOS keeps agents out of keiji's folders; each run reads its ``.env`` in the workspace."""
    places = ("Desktop", "Documents", "Downloads", "Library/Mobile Documents")
    shut = [*(Path.home() / place for place in places), Path("/Volumes")]
    for name, path in (("KEIJI_WORKSPACE", folders.workspace), ("KEIJI_HOME", folders.home)):
        if any(path.resolve().is_relative_to(place.resolve()) for place in shut):
            said = f"{path} lies where macOS lets no agent read"
            yield warning(said, f"have {name} name a folder that is not in {', '.join(places)} or /Volumes")


def loaded(folders: Folders, slugs: Iterable[str]) -> Iterator[Finding]:
    """Where launchd goes by another plist than the one that lies there."""
    jobs = launchctl.loaded()
    for slug in slugs:
        label = names.task(slug)
        if label in jobs and not loading.is_current(folders, label):
            said = "launchd goes by an older plist than the one that lies there"
            yield warning(said, f"`keiji task restart {slug}`", slug)


def of_task(task: Task, wanted: Mapping[Path, str], housekeeping: str) -> Iterator[Finding]:
    """What is wrong with the task's plist, of which `wanted` is what would be written now.

    `housekeeping`: the command line that follows the machine's clock.
    """
    for path, text in wanted.items():
        found = files.read(path)
        if found is None:
            yield error(f"{path.name} is gone", _UPDATE, task.slug)
            continue
        was, here = arming.machine_of(arming.read(path)), calendar.local_zone()
        if was not in ("", here):
            said = f"it goes by the clock of {was}, and this machine's is {here} now"
            yield error(said, f"`{housekeeping}`, which follows the clock each hour", task.slug)
        elif found != text:
            yield error(f"{path.name} is not what keiji writes now", _UPDATE, task.slug)
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            yield error(f"{path.name} is a link, which launchd ignores at login", _UPDATE, task.slug)
        elif status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            remedy = f"`chmod 644 {remedies.word(path)}`"
            yield error(f"{path.name} is not yours alone to write: launchd refuses it", remedy, task.slug)
        program = (arming.read(path).get("ProgramArguments") or [""])[0]
        if program and not os.access(program, os.X_OK):
            said = f"{program}, which runs it, is gone"
            yield error(said, f"`keiji task build {task.slug}`", task.slug)
