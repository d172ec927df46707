"""The bus service's unit: D-Bus has systemd start it on demand, and people may stop it.

It lies in the data folder, where the runtime folder's mask comes before it; before a unit in
``~/.config`` no mask at run time has any effect (systemd.unit(5), "Unit File Load Path").
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from keiji import files
from keiji.errors import BusUnavailable, HostFailed
from keiji.folders import Folders
from keiji.systemd import journal, names, systemctl

# The unit's TimeoutStartSec= is 30 s, its TimeoutStopSec= 150 s, and a start waits for a stop.
_START_PATIENCE = 190.0
_STOP_PATIENCE = 160.0
_PING_PATIENCE = 3
_JOURNAL_PATIENCE = 1.0
_MASK = "/dev/null"
_DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_OBJECT = (names.BUS, "/io/keiji/Bus1", names.BUS)
_REMEDY = "`keiji system start --bus` starts it"
_SHOWN = 3  # lines of a failed start


# -- installation ---------------------------------------------------------------------------


def unit_path() -> Path:
    return names.data_folder() / "systemd" / "user" / names.BUS_SERVICE


def activation_path() -> Path:
    """Where the session bus looks for services that it may have started."""
    return names.data_folder() / "dbus-1" / "services" / names.BUS_SERVICE


def write_files(folders: Folders) -> list[str]:
    """Write unit and activation file where they differ; how those are called that did."""
    from keiji.systemd import units

    unit, activation = units.render_bus(folders)
    changed = []
    for path, text, called in (
        (unit_path(), unit, names.BUS_SERVICE),
        (activation_path(), activation, f"dbus-1/services/{names.BUS_SERVICE}"),
    ):
        if files.read(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, text, mode=0o644)
            changed.append(called)
    return changed


def remove_files() -> None:
    """Remove both files, the mask, and the folders that they leave empty."""
    for path in (unit_path(), activation_path(), _mask()):
        path.unlink(missing_ok=True)
    for folder in (unit_path().parent, activation_path().parent, activation_path().parent.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def told_of_files() -> None:
    """Have the session bus look at its services; the manager has read the unit already."""
    # It watches a folder only that was there when it began. Where there is no session bus, nobody calls.
    systemctl.run("busctl", "--user", "call", *_DAEMON, "ReloadConfig", timeout=10)
    systemctl.call("reset-failed", "--", names.BUS_SERVICE, check=False)


def advice() -> list[str]:
    """A note when the session bus does not know the service, so that calls of others don't start it."""
    listed = systemctl.run("busctl", "--user", "call", *_DAEMON, "ListActivatableNames", timeout=10)
    if listed.returncode != 0 or f'"{names.BUS}"' in listed.stdout:
        return []
    folder = activation_path().parent
    return [f"the session bus does not look into {folder}, so only keiji itself can start the bus service"]


# -- starting and stopping ------------------------------------------------------------------


def start() -> None:
    """Have the service run; raises `BusUnavailable` with what keeps it from that."""
    if is_masked():
        raise BusUnavailable(f"the bus is stopped: {_REMEDY}")
    began = time.time()
    try:
        done = systemctl.run("systemctl", "--user", "start", "--", names.BUS_SERVICE, timeout=_START_PATIENCE)
        if done.returncode == 0:
            return
        unit = _show("LoadState", "FragmentPath", "InvocationID")
    except HostFailed as problem:
        raise BusUnavailable(problem.message) from None
    raise BusUnavailable(_why_not(unit, began))


def stop(stay: bool) -> bool:
    """End the service after what is in flight, and with `stay` mask it; whether it ran."""
    ran = _show("ActiveState")["ActiveState"] not in ("inactive", "failed")
    if stay:
        _mask().parent.mkdir(parents=True, exist_ok=True)
        files.link(_mask(), _MASK)
    if ran:
        # Irreversibly: else a call from outside would cancel the stop. Before the manager reads the mask,
        # for a masked unit has no settings any more, and all its processes would be signalled.
        words = ("stop", "--job-mode=replace-irreversibly", "--", names.BUS_SERVICE)
        systemctl.call(*words, timeout=_STOP_PATIENCE)
    if stay:
        systemctl.call("daemon-reload")
        _check_masked()
    return ran


def allow() -> bool:
    """Take the mask away; whether there was one."""
    if not is_masked():
        return False
    _mask().unlink()
    systemctl.call("daemon-reload")
    return True


def is_masked() -> bool:
    """Whether it was stopped to stay down."""
    try:
        return os.readlink(_mask()) == _MASK
    except OSError:
        return False


# -- looking --------------------------------------------------------------------------------


def is_answering() -> bool:
    """Whether a call would be answered; one who has the name must answer now."""
    asked = systemctl.run("busctl", "--user", "call", *_DAEMON, "NameHasOwner", "s", names.BUS, timeout=10)
    if asked.returncode != 0:
        return False  # there is no session bus
    if asked.stdout.strip() == "b true":
        words = ("--auto-start=no", f"--timeout={_PING_PATIENCE}", "call", *_OBJECT, "Ping")
        return systemctl.run("busctl", "--user", *words, timeout=_PING_PATIENCE + 5).returncode == 0
    return not is_masked() and _would_start()


def used_files() -> list[str]:
    """The unit file and drop-ins that the manager uses."""
    shown = _show("FragmentPath", "DropInPaths")
    return [path for path in (shown["FragmentPath"], *shown["DropInPaths"].split()) if path]


def log_matches() -> list[str]:
    """Which entries are the service's log: what it says, and what the manager says of it.

    By the identifier, too, as with tasks (`journal.task_matches`).
    """
    uid = f"_UID={os.getuid()}"
    ways = (
        f"SYSLOG_IDENTIFIER={names.BUS}",
        f"_SYSTEMD_USER_UNIT={names.BUS_SERVICE}",
        f"USER_UNIT={names.BUS_SERVICE}",
    )
    return [word for way in ways for word in (way, uid, "+")][:-1]


def _would_start() -> bool:
    unit = _show(
        *("LoadState", "ActiveState", "Result", "ExecStart"),
        *("ActiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic"),
    )
    if unit["LoadState"] != "loaded":
        return False
    if not os.access(unit["ExecStart"].partition("path=")[2].partition(" ;")[0], os.X_OK):
        return False
    came_up = int(unit["ActiveEnterTimestampMonotonic"]) > int(unit["InactiveExitTimestampMonotonic"])
    # Killed on its way up it would come up the next time.
    return unit["ActiveState"] != "failed" or came_up or unit["Result"] == "signal"


# -- parts ----------------------------------------------------------------------------------


def _mask() -> Path:
    return Path(systemctl.runtime_folder(), "systemd", "user", names.BUS_SERVICE)


def _check_masked() -> None:
    shown = _show("LoadState", "FragmentPath")
    if shown["LoadState"] in ("masked", "not-found"):
        return
    _mask().unlink(missing_ok=True)
    raise BusUnavailable(
        f"the bus is stopped, but the next call starts it again: {shown['FragmentPath']} is used in the "
        "place of keiji's own unit; remove that file"
    )


def _why_not(unit: dict[str, str], began: float) -> str:
    """What keeps the service from starting, and what to do."""
    if unit["LoadState"] == "not-found":
        return "the bus service is not installed here: `keiji init` installs it"
    if unit["LoadState"] == "masked":
        lifted = f"`systemctl --user unmask {names.BUS_SERVICE}` lifts it"
        return (
            f"the bus is stopped: {_REMEDY}" if is_masked() else f"{unit['FragmentPath']} is a mask: {lifted}"
        )
    said = "\n".join(f"  {line}" for line in _last_lines(unit["InvocationID"], began))
    return f"the bus does not start:\n{said}\n`keiji system logs --bus` shows more"


def _last_lines(invocation: str, began: float) -> list[str]:
    """The last lines that the service said when it failed, else those of the manager."""
    give_up = time.monotonic() + _JOURNAL_PATIENCE
    found: list[str] = []
    while time.monotonic() < give_up:
        lines = journal.read(log_matches(), 20)
        said = [line.message for line in lines if line.at.timestamp() >= began]
        own = [line.message for line in lines if line.run == invocation]
        if found == (own or said)[-_SHOWN:] != []:
            break
        found = (own or said)[-_SHOWN:]
        time.sleep(0.05)  # what is said comes to the journal in its own time
    return found


def _show(*properties: str) -> dict[str, str]:
    shown = systemctl.show(names.BUS_SERVICE, properties)
    return {name: shown.get(name, "") for name in properties}
