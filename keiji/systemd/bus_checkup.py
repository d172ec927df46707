"""What may keep directives from reaching the bus service, each with its remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from keiji import __version__, remedies
from keiji.errors import HostFailed
from keiji.findings import Finding, error, warning
from keiji.folders import Folders
from keiji.systemd import bus_service, bus_unit, names, systemctl
from keiji.systemd.bus_unit import DAEMON

SESSION_BUS = "session-bus"
_PATIENCE = 10.0  # seconds for one question
_RESTART = "`keiji system restart --bus`"
_ASKED = ("FragmentPath", *bus_service.JUDGED)


def session_bus() -> Iterator[Finding]:
    try:
        asked = systemctl.run("busctl", "--user", "call", *DAEMON, "GetId", timeout=_PATIENCE)
    except HostFailed:
        said = f"the session bus at {systemctl.bus_address()} is frozen: every change of a task is refused"
        yield error(said, "`systemctl --user restart dbus.service`")
        return
    if asked.returncode == 0:
        return
    said = f"no session bus answers at {systemctl.bus_address()}: every change of a task is refused"
    if systemctl.show("dbus.socket", ["LoadState"]).get("LoadState") == "loaded":
        yield error(said, "`systemctl --user restart dbus.socket`")
    else:
        yield error(said, "`sudo apt install dbus-user-session`, then log in anew")


def service(folders: Folders, ask: bus_service.Ask | None = None) -> Iterator[Finding]:
    """Whether a call would be answered, and by the right service; none is started."""
    if bus_service.is_masked():
        yield warning("the bus is stopped: every change of a task is refused", "`keiji system start --bus`")
        return
    expected = bus_unit.expected_unit(ask is not None)
    if not expected.exists():
        return  # `own-units` tells
    unit = systemctl.show(names.BUS_SERVICE, _ASKED)
    found = _unusable(unit, expected)
    if not found:
        found = _wrong_owner(folders, ask) if bus_service.has_owner(ask) else _would_not_start(unit)
    if found:
        yield found
    elif not ask and not bus_unit.is_activatable():
        yield warning(bus_unit.inactivatable(), "log in anew; `keiji init` tells whether it is still so")


def _unusable(unit: dict[str, str], expected: Path) -> Finding | None:
    """What is wrong with the unit as the manager has it."""
    state, path = unit.get("LoadState"), unit.get("FragmentPath", "")
    if state == "not-found":
        said = f"the user manager does not look into {expected.parent}, so the bus can't start"
        return error(said, "`unset XDG_DATA_HOME`, then `keiji init`")
    if state == "masked":
        return error(f"the bus is masked by {path}", f"`systemctl --user unmask {names.BUS_SERVICE}`")
    if path and path != str(expected):
        remedy = f"`rm {remedies.word(path)} && systemctl --user daemon-reload`"
        return error(f"{path} is used in the place of keiji's own unit of the bus", remedy)
    if state != "loaded":
        return error(f"the manager can't use {path} ({state})", "`keiji system update`")
    return None


def _wrong_owner(folders: Folders, ask: bus_service.Ask | None) -> Finding | None:
    """What is wrong with the service that runs."""
    said = bus_service.ping(ask)
    if said is None:
        return error("the bus runs and does not answer", _RESTART)
    version, home = said
    if home != str(folders.home):
        remedy = f"`systemctl --user stop {names.BUS_SERVICE}`"
        return error(f"the bus that runs serves the keiji in {home}", remedy)
    if version != __version__:
        return warning(f"the bus that runs is keiji {version}, and this is {__version__}", _RESTART)
    return None


def _would_not_start(unit: dict[str, str]) -> Finding | None:
    if bus_service.would_start(unit) or not os.access(systemctl.program(unit["ExecStart"]), os.X_OK):
        return None  # `own-units` tells of a program that is gone
    remedy = "`keiji system logs --bus` shows why; when that is mended, `keiji system start --bus`"
    return error("the bus could not be started the last time", remedy)
