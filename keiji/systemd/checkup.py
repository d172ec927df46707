"""What may be wrong with the machine and its user manager, each with its remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from keiji import diskspace, remedies
from keiji.errors import HostFailed
from keiji.findings import FOLDERS, MANAGER, OWN_UNITS, UNIT_FOLDER, Check, Finding, error, note, warning
from keiji.folders import Folders
from keiji.systemd import arming, bus_checkup, bus_service, names, systemctl, unit_checkup

_SOCKET = Path("/run/systemd/journal/socket")
_PERSISTENT = Path("/var/log/journal")
_VOLATILE = Path("/run/log/journal")
_KEEP = f"`sudo mkdir -p {_PERSISTENT} && sudo systemctl restart systemd-journald && sudo journalctl --flush`"
_LINGER = Path("/var/lib/systemd/linger")
_CONTAINER = Path("/run/systemd/container")  # the system manager leaves it in one
_MACHINE = Path("/etc/machine-id")
_PATIENCE = 10.0  # seconds for one question


def checks(folders: Folders, ask_bus: bus_service.Ask | None = None) -> list[Check]:
    """In the order in which one fault may be the next one's cause.

    `ask_bus`: how a bus on a loopback socket is asked for its version and home.
    """
    bus = bus_checkup
    carriers = [] if ask_bus else [Check(bus.SESSION_BUS, bus.session_bus, (MANAGER,))]
    needs = (FOLDERS, MANAGER, UNIT_FOLDER, *(check.name for check in carriers))
    return [
        Check("lingering", lingering),
        Check(MANAGER, manager),
        Check(UNIT_FOLDER, unit_folder),
        *carriers,
        Check("bus", lambda: bus.service(folders, ask_bus), needs),
        Check("journal", lambda: journal(folders)),
        Check("clock", clock),
        Check(OWN_UNITS, lambda: unit_checkup.own(folders, bool(ask_bus)), (FOLDERS, MANAGER, UNIT_FOLDER)),
        Check("scheduler", scheduler, (FOLDERS, MANAGER, UNIT_FOLDER)),
        Check("own-failures", lambda: failed(folders), (MANAGER,)),
    ]


def lingering() -> Iterator[Finding]:
    user = remedies.person()
    if not (_LINGER / user).exists():
        said = f"lingering is off for {user}: tasks run only while {user} is logged in, and not from boot on"
        yield error(said, f"`{remedies.linger()}`")


def manager() -> Iterator[Finding]:
    remedy = f"log in (not by su or sudo), or `sudo systemctl start user@{os.getuid()}.service`"
    words = ("--user", "show", "--property=SystemState", "--value")
    try:
        asked = systemctl.run("systemctl", *words, timeout=_PATIENCE)
    except HostFailed as problem:
        yield error(f"no systemd user manager can be asked: {problem.message}", remedy)
        return
    if asked.returncode != 0:
        why = asked.stderr.strip().partition("\n")[0]
        yield error(f"no systemd user manager answers: {why}", remedy)


def unit_folder() -> Iterator[Finding]:
    """Whether the folders of units, as far as they are there, can be read and written."""
    last = (names.unit_folder(), names.wanted_folder(), names.enabled_target().parent)
    for folder in (*reversed(last[0].parents), *last):
        mode = os.R_OK | os.W_OK | os.X_OK if folder in last else os.X_OK
        if os.path.lexists(folder) and not os.access(folder, mode):
            word = remedies.word(folder)
            mine = folder.stat().st_uid == os.getuid()
            remedy = f"chmod u+rwx {word}" if mine else remedies.as_root(f"chown {os.getuid()} {word}")
            yield error(f"{folder} can't be used, where units of tasks lie", f"`{remedy}`")
            return


def journal(folders: Folders) -> Iterator[Finding]:
    """Where what tasks print is kept, and whether it can be read."""
    if not _SOCKET.exists():
        yield note(f"no journal runs on this machine: what tasks print is kept in files in {folders.logs}")
        return
    if folders.filed.exists():
        said = "the journal gave nothing back when keiji last asked it"
        again = "`keiji system update` asks it again"
        yield note(f"{said}: what tasks print is kept in files in {folders.logs}", again)
        return
    machine = _MACHINE.read_text(encoding="ascii").strip()
    is_persistent = (_PERSISTENT / machine).is_dir()
    # The manager itself has said something. A journal that isn't kept is not split by person, so that most
    # may not read it.
    mine = ("--quiet", "--lines=1", "--output=cat", f"_UID={os.getuid()}")
    asked = systemctl.run("journalctl", *mine, timeout=_PATIENCE)
    if asked.returncode != 0 or not asked.stdout:
        why = asked.stderr.strip().partition("\n")[0] or "it shows nothing of yours"
        join = f"`sudo usermod -aG systemd-journal {remedies.person()}`, then log in anew"
        remedy = f"{join if is_persistent else _KEEP}; or `keiji system update`, which has files kept instead"
        yield error(f"what tasks print can't be read from the journal: {why}", remedy)
    elif not is_persistent:
        yield warning("the journal is not kept: what tasks print is gone after a reboot", _KEEP)
    yield from diskspace.shortages([_PERSISTENT if is_persistent else _VOLATILE])


def clock() -> Iterator[Finding]:
    """Whether the machine's clock is kept right; calendar times are only as right as that."""
    if _CONTAINER.exists():
        return  # its host keeps the clock
    wanted = ("NTPSynchronized", "CanNTP")
    asked = systemctl.run("timedatectl", "show", *(f"--property={it}" for it in wanted), timeout=_PATIENCE)
    if asked.returncode != 0:
        why = asked.stderr.strip().partition("\n")[0]
        yield note(f"whether the clock is synchronised can't be told: timedatectl: {why}")
        return
    said = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
    if said.get("NTPSynchronized") == "no":
        can = said.get("CanNTP") == "yes"
        remedy = "`sudo timedatectl set-ntp true`" if can else "`sudo apt install systemd-timesyncd`"
        yield warning("the machine's clock is not synchronised, so tasks may run early or late", remedy)


def scheduler() -> Iterator[Finding]:
    """Whether the target that all timers belong to is active, and will be after the next boot."""
    if not (names.unit_folder() / names.TARGET).exists():
        return  # `own-units` tells
    unit = systemctl.show(names.TARGET, ("LoadState", "ActiveState"))
    if unit.get("LoadState") == "not-found":
        said = f"the user manager began with another XDG_CONFIG_HOME and does not see {names.unit_folder()}"
        yield error(said, "`unset XDG_CONFIG_HOME`, then `keiji init`")
        return
    is_active, is_enabled = unit.get("ActiveState") == "active", names.starts(names.enabled_target())
    start = "`keiji system start`"
    if is_active and not is_enabled:
        yield error("the scheduler is started, and would not be after a reboot", start)
    elif is_enabled and not is_active:
        yield error("the scheduler should be started, and is not: no task runs on schedule", start)
    elif not is_active and names.slugs(arming.listed(names.unit_folder())):
        yield warning("the scheduler is stopped: no task runs on schedule", start)
    elif is_active and systemctl.show(names.HOUSEKEEPING, ["ActiveState"]).get("ActiveState") != "active":
        yield error(f"{names.HOUSEKEEPING} is stopped: what goes wrong unseen is found by nobody", start)


def failed(folders: Folders) -> Iterator[Finding]:
    """Which of keiji's own units failed; `bus` looks at the bus service."""
    words = ("--state=failed", "--plain", "--no-legend", "--full", "io.keiji.*", names.TARGET)
    rows = systemctl.call("list-units", *words, timeout=_PATIENCE).stdout.splitlines()
    for unit in (row.split()[0] for row in rows if row.split()):
        if unit != names.BUS_SERVICE:
            look = f"`journalctl --quiet --user-unit={unit} -n 20`"
            if folders.filed.exists() or not _SOCKET.exists():
                look = str(folders.service_log("housekeeping"))
            said = f"{unit} failed: {look} shows why"
            yield error(said, f"when that is mended, `systemctl --user start {unit}`")
