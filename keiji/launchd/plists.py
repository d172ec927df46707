"""From a `Task` to the text of its agent's plist, and keiji's own agents.

launchd passes silently over a key of a wrong type. So each plist is read back and compared with what was
meant, before anybody gets it.
"""

from __future__ import annotations

import plistlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from keiji import platforms, rendering
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.interpreters import lasting
from keiji.launchd import calendar, images, names
from keiji.task import Task

PATIENCE = 20
"""Seconds from SIGTERM to SIGKILL."""

_BUS_PATIENCE = 150  # what is in flight is finished; stopping a task may take long
_PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
_HOURLY = 7  # past the hour, when few other programs have something to do


@dataclass(frozen=True)
class Agent:
    """What an agent's plist shall say; `note` goes into a comment."""

    label: str
    command: Sequence[str]
    folder: str
    environment: Mapping[str, str]
    note: str = ""
    umask: int | None = None
    entries: Sequence[images.Entry] = ()
    at_load: bool = False
    is_resident: bool = False
    port: int = 0
    patience: int = PATIENCE

    def meant(self) -> dict[str, Any]:
        """What launchd must read: these keys, and no others."""
        found: dict[str, Any] = {
            "Label": names.checked(self.label),
            "ProgramArguments": [*self.command],
            "WorkingDirectory": self.folder,
            "EnvironmentVariables": dict(self.environment),
            # Where the runner, and keiji's own services, then take it into their log files.
            "StandardOutPath": "/dev/null",
            "StandardErrorPath": "/dev/null",
            "ExitTimeOut": self.patience,
            "LimitLoadToSessionType": ["Aqua", "Background"],
        }
        if self.umask is not None:
            found["Umask"] = self.umask
        if self.entries:
            found["StartCalendarInterval"] = [dict(entry) for entry in self.entries]
        if self.at_load:
            found["RunAtLoad"] = True
        if self.is_resident:
            found["KeepAlive"] = {"SuccessfulExit": False}
        if self.port:
            found["ThrottleInterval"] = 1  # a bus that has left within ten seconds must come again at once
            address = {"SockNodeName": "127.0.0.1", "SockServiceName": str(self.port)}
            found["Sockets"] = {"Bus": {**address, "SockFamily": "IPv4", "SockType": "stream"}}
        return found

    def text(self) -> str:
        """The plist; raises `HostFailed` when it would not be read as meant."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        text = rendering.render("launchd", "agent.plist.j2", filters=_FILTERS, **values)
        if not _agrees(text, self.meant()):
            raise HostFailed(f"the agent {self.label} would not be read as it was written: report this")
        return text


def render_task(
    task: Task, command: list[str], at: datetime | None = None, machine: str | None = None
) -> dict[str, str]:
    """The task's agent: file name → text. The schedule must name its zone already.

    The zones' changes are looked ahead from `at` (now), for a machine whose zone is `machine`.
    """
    machine = machine or calendar.local_zone()
    plan = calendar.plan(task.schedule, task.slug, at or datetime.now(timezone.utc), machine)
    agent = _of_task(task, command, names.task(task.slug))
    note = f"Changes are lost at the next build of {task.name}. Schedule: {task.schedule}"
    if plan.entries:
        note += f"; by the clock of {machine}"
        agent["command"] = [*agent["command"], "--machine", machine]
    text = Agent(
        **agent, note=note, entries=plan.entries, at_load=plan.at_load, is_resident=plan.is_resident
    ).text()
    return {f"{names.task(task.slug)}.plist": text}


def once_of(text: str, label: str) -> str:
    """The agent of that label that starts one run, from the plist of the task's; it has no schedule."""
    found = plistlib.loads(text.encode())
    for key in ("StartCalendarInterval", "RunAtLoad", "KeepAlive"):
        found.pop(key, None)
    found["Label"] = names.checked(label)
    found["ProgramArguments"] += ["--once", "yes"]
    return plistlib.dumps(found).decode()


def render_own(folders: Folders) -> dict[str, str]:
    """keiji's own agents but for the bus: file name → text."""
    keep = Agent(
        **_own(folders, names.HOUSEKEEPING, "keiji.commands.housekeeping"),
        note="Delivers records of runs and looks for what went wrong unseen.",
        entries=[{"Minute": _HOURLY}],
    )
    begin = Agent(
        **_own(folders, names.STARTUP, "keiji.commands.housekeeping", "--startup"),
        note="Clears what a power cut left over.",
        at_load=True,
    )
    return {f"{agent.label}.plist": agent.text() for agent in (keep, begin)}


def render_bus(folders: Folders, port: int) -> str:
    """The bus service's agent, which launchd starts when somebody connects to the port."""
    own = _own(folders, names.BUS, "keiji.bus.loopback")
    note = "Carries out directives; launchd starts it for who connects, and it leaves when idle."
    return Agent(**own, note=note, port=port, patience=_BUS_PATIENCE).text()


def _of_task(task: Task, command: list[str], label: str) -> dict[str, Any]:
    policy = task.schedule.policy
    if policy.zone_is_default and task.schedule.needs_zone:
        # The settings' zone may have changed since the build, whose schedule the runner knows.
        command = [*command, "--zone", str(policy.timezone)]
    return {
        "label": label,
        "command": command,
        # As on Linux.
        "folder": str(Path.home()),
        "environment": _environment(),
    }


def _own(folders: Folders, label: str, *module: str) -> dict[str, Any]:
    homes = {"KEIJI_HOME": str(folders.home), "KEIJI_WORKSPACE": str(folders.workspace)}
    return {
        "label": label,
        "command": [lasting(sys.executable), "-m", *module],
        "folder": str(folders.run),
        "environment": {**_environment(), **homes, **platforms.passed_on()},
        "umask": 0o077,
    }


def _environment() -> dict[str, str]:
    """launchd gives a short PATH and no locale. Secrets never come here: `launchctl print` shows it."""
    return {"HOME": str(Path.home()), "LANG": "en_US.UTF-8", "PATH": _PATH, "PYTHONUNBUFFERED": "1"}


def _agrees(text: str, meant: dict[str, Any]) -> bool:
    try:
        found = plistlib.loads(text.encode())
    except Exception:
        return False
    return bool(found == meant) and _types(found) == _types(meant)


def _types(value: Any) -> Any:
    """To tell True from 1, which are equal."""
    if isinstance(value, dict):
        return {key: _types(each) for key, each in value.items()}
    return [_types(each) for each in value] if isinstance(value, list) else type(value)


def _text(value: object) -> str:
    """Text in XML; `ValueError` for a character that XML, or a line of a plist, can't hold."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    for character in value:
        if ord(character) < 32 or ord(character) == 127 or 0xD800 <= ord(character) < 0xE000:
            raise ValueError(f"{value!r} holds a control character or a line break")
        if character in "\ufffe\uffff":
            raise ValueError(f"{value!r} holds what is no character")
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _comment(value: str) -> str:
    """What a comment can hold of a text: no two hyphens side by side."""
    kept = "".join(c if c.isprintable() and c not in "<>&" else " " for c in value)
    while "--" in kept:
        kept = kept.replace("--", "- -")
    return kept.rstrip("- ")


_FILTERS = {"text": _text, "comment": _comment}
