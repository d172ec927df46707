"""The bus service, as the manager runs it: start it, stop it, ask whether it would answer."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping

from keiji import files
from keiji.errors import BusUnavailable, HostFailed
from keiji.host import LogLine
from keiji.systemd import journal, names, systemctl
from keiji.systemd.bus_unit import DAEMON, is_of_loopback, mask_path, shipped_unit, unit_path, unseen

# How a bus on a loopback socket is asked for its version and home, None when it doesn't answer.
Ask = Callable[[], "tuple[str, str] | None"]

# The unit's TimeoutStartSec= is 30 s, its TimeoutStopSec= 150 s, and a start waits for a stop.
_START_PATIENCE = 190.0
_STOP_PATIENCE = 160.0
_DAEMON_PATIENCE = 10.0
_PING_PATIENCE = 3
_JOURNAL_PATIENCE = 1.0
_PAUSE = 0.05
_MASK = "/dev/null"
_OBJECT = (names.BUS, "/io/keiji/Bus1", names.BUS)
_UNIT = ("--", names.BUS_SERVICE)
_STOPPED = "the bus is stopped: `keiji system start --bus` starts it"
_SHOWN = 3  # lines of a failed start


def log(n: int) -> list[LogLine]:
    """The last `n` lines of its log in the journal."""
    return journal.read(log_matches(), n)


def start(is_loopback: bool = False, last_lines: Callable[[int], list[LogLine]] = log) -> None:
    """Have the service run; raises `BusUnavailable` with what keeps it from that.

    `last_lines(n)` are the last of its log.
    """
    if is_loopback != is_of_loopback() and (unit_path().exists() or shipped_unit()):
        raise BusUnavailable(_other_transport(is_loopback))
    began, give_up = time.time(), time.monotonic() + _START_PATIENCE
    reads_anew = True
    try:
        while not is_masked():
            if systemctl.call("start", *_UNIT, check=False, timeout=_START_PATIENCE).returncode == 0:
                return
            unit = _show("LoadState", "ActiveState", "FragmentPath", "InvocationID")
            if unit["LoadState"] == "masked" and reads_anew:
                systemctl.call("daemon-reload")
                reads_anew = False
            # While it is stopped to stay down, a start is refused rather than queued.
            elif unit["ActiveState"] != "deactivating" or time.monotonic() > give_up:
                raise BusUnavailable(_why_not(unit, began, last_lines))
            else:
                time.sleep(_PAUSE)
    except HostFailed as problem:
        raise BusUnavailable(problem.message) from None
    raise BusUnavailable(_STOPPED)


def stop(stay: bool) -> bool:
    """End the service after what is in flight, and with `stay` mask it; whether it ran."""
    running = _running()
    if stay:
        mask_path().parent.mkdir(parents=True, exist_ok=True)
        files.link(mask_path(), _MASK)
        running = _running()  # and by the unit's condition none begins any more
    if running:
        # For good, a call from outside must not cancel it; else who calls meanwhile has the next one begin.
        mode = "replace-irreversibly" if stay else "replace"
        # Before the manager reads the mask: a masked unit has no settings, and all its processes would be
        # signalled, not the service alone.
        stopped = systemctl.call("stop", f"--job-mode={mode}", *_UNIT, check=False, timeout=_STOP_PATIENCE)
        _wait_for_end(running, stopped.stderr)
    if stay:
        _check_masked()
    return bool(running)


def allow() -> bool:
    """Take the mask away; whether there was one.

    A manager that still has it loaded forgets it with its next reload, at the latest when `start` meets it.
    """
    if not is_masked():
        return False
    mask_path().unlink(missing_ok=True)
    return True


def is_masked() -> bool:
    """Whether it was stopped to stay down."""
    try:
        return os.readlink(mask_path()) == _MASK
    except OSError:
        return False


# -- looking --------------------------------------------------------------------------------


def is_answering(ask: Ask | None = None) -> bool:
    """Whether a call would be answered; a service that runs must answer now."""
    runs = has_owner(ask)
    if runs is None:
        return False
    if runs:
        return ask() is not None if ask else _pinged().returncode == 0
    return not is_masked() and would_start(_show(*JUDGED))


def has_owner(ask: Ask | None = None) -> bool | None:
    """Whether the service runs; None where there is no session bus, or it is frozen."""
    if ask:
        return _show("ActiveState")["ActiveState"] == "active"
    words = ("call", *DAEMON, "NameHasOwner", "s", names.BUS)
    try:
        asked = systemctl.run("busctl", "--user", *words, timeout=_DAEMON_PATIENCE)
    except HostFailed:
        return None
    return asked.stdout.strip() == "b true" if asked.returncode == 0 else None


def ping(ask: Ask | None = None) -> tuple[str, str] | None:
    """The version and the home that the service which runs answers with, or None when it doesn't answer."""
    if ask:
        return ask()
    asked = _pinged()
    if asked.returncode != 0:
        return None
    version, home = json.loads(asked.stdout)["data"]
    return version, home


def _pinged() -> subprocess.CompletedProcess[str]:
    words = ("--json=short", "--auto-start=no", f"--timeout={_PING_PATIENCE}", "call", *_OBJECT, "Ping")
    return systemctl.run("busctl", "--user", *words, timeout=_PING_PATIENCE + 5)


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


# What `would_start` judges by.
JUDGED = (
    *("LoadState", "ActiveState", "Result", "ExecStart"),
    *("ActiveEnterTimestampMonotonic", "InactiveExitTimestampMonotonic"),
)


def would_start(unit: Mapping[str, str]) -> bool:
    """Whether a service that doesn't run would come up, as far as its unit tells."""
    if unit["LoadState"] != "loaded" or not os.access(systemctl.program(unit["ExecStart"]), os.X_OK):
        return False
    came_up = int(unit["ActiveEnterTimestampMonotonic"] or 0) > int(
        unit["InactiveExitTimestampMonotonic"] or 0
    )
    # Killed on its way up it would come up the next time.
    return unit["ActiveState"] != "failed" or came_up or unit["Result"] == "signal"


# -- parts ----------------------------------------------------------------------------------


def _running() -> str:
    """The invocation of the service that runs or is about to; empty when none does."""
    unit = _show("ActiveState", "InvocationID")
    return "" if unit["ActiveState"] in ("inactive", "failed") else unit["InvocationID"]


def _wait_for_end(invocation: str, said: str) -> None:
    """Wait until that service is gone, also when a call had the manager drop the stop's job for a start's."""
    give_up = time.monotonic() + _STOP_PATIENCE
    while _running() == invocation:
        if time.monotonic() > give_up:
            raise HostFailed(f"the bus did not end within {_STOP_PATIENCE:.0f} s: {said.strip()}")
        time.sleep(_PAUSE)


def _check_masked() -> None:
    """See that the manager keeps the service down; raises `BusUnavailable` when another file is in the way.

    It looks for the mask by itself, but for a unit that it still has loaded. To have it read all units
    again may take it a second.
    """
    if _show("LoadState")["LoadState"] == "masked":
        return
    systemctl.call("daemon-reload")
    unit = _show("LoadState", "FragmentPath")
    if unit["LoadState"] == "masked":
        return
    mask_path().unlink(missing_ok=True)
    raise BusUnavailable(
        f"the bus is stopped, but the next call starts it again: {unit['FragmentPath']} is used in the "
        "place of keiji's own unit; remove that file"
    )


def _other_transport(is_loopback: bool) -> str:
    if is_loopback:
        return "the bus installed here is on the session bus: `unset KEIJI_BUS`, or `keiji init` replaces it"
    remedy = "`export KEIJI_BUS=loopback`, or `keiji init` replaces it"
    return f"the bus installed here is on a loopback socket: {remedy}"


def _why_not(unit: dict[str, str], began: float, last_lines: Callable[[int], list[LogLine]]) -> str:
    """What keeps the service from starting, and what to do."""
    if unit["LoadState"] == "not-found":
        is_there = unit_path().exists()
        return unseen() if is_there else "the bus service is not installed here: `keiji init` installs it"
    if unit["LoadState"] == "masked":
        lifts = f"`systemctl --user unmask {names.BUS_SERVICE}` lifts it"
        return _STOPPED if is_masked() else f"the bus is masked by {unit['FragmentPath']}: {lifts}"
    said = "".join(f"\n  {line}" for line in _said(last_lines, unit["InvocationID"], began))
    return f"the bus does not start:{said}\n`keiji system logs --bus` shows more"


def _said(last_lines: Callable[[int], list[LogLine]], invocation: str, began: float) -> list[str]:
    """The last lines that the service said when it failed, else those of the manager."""
    give_up = time.monotonic() + _JOURNAL_PATIENCE
    before: list[str] | None = None
    while True:
        lines = last_lines(_SHOWN * 4)
        new = [line for line in lines if line.at.timestamp() >= began]
        own = [line for line in lines if invocation and line.run == invocation]
        found = [line.message for line in (own or new)[-_SHOWN:]]
        if (found and found == before) or time.monotonic() > give_up:
            return found
        before = found
        time.sleep(_PAUSE)  # what is said comes to the journal in its own time


def _show(*properties: str) -> dict[str, str]:
    shown = systemctl.show(names.BUS_SERVICE, properties)
    return {name: shown.get(name, "") for name in properties}
