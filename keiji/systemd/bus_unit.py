"""The bus service's files: a unit, and what has D-Bus start it on demand.

The unit lies in the data folder, where the runtime folder's mask comes before it; before a unit in
``~/.config`` no mask at run time has any effect (systemd.unit(5), "Unit File Load Path"). A package of
the system ships both files: then the home gets only a drop-in, which says whose folders the bus serves.
A bus on a loopback socket has the unit alone, in the home: D-Bus knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import keiji
from keiji import files
from keiji.folders import Folders
from keiji.systemd import names, systemctl

DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


def unit_path() -> Path:
    return names.data_folder() / "systemd" / "user" / names.BUS_SERVICE


def activation_path() -> Path:
    """Where the session bus looks for services that it may have started."""
    return names.data_folder() / "dbus-1" / "services" / names.BUS_SERVICE


def drop_in_path() -> Path:
    """What goes with the unit of a package; a mask comes before that, wherever this lies."""
    return names.unit_folder() / f"{names.BUS_SERVICE}.d" / "keiji.conf"


def shipped_unit() -> Path | None:
    """The unit that came with this keiji in a package; None for a checkout, a wheel and the like."""
    # From /usr/lib/python3/dist-packages/keiji, where only a package puts it, to /usr/lib.
    library = Path(keiji.__file__).resolve().parent.parent.parent.parent
    path = library / "systemd" / "user" / names.BUS_SERVICE
    return path if path.is_file() else None


def expected_unit(is_loopback: bool = False) -> Path:
    """The unit that the manager has to use."""
    return (None if is_loopback else shipped_unit()) or unit_path()


def is_of_loopback() -> bool:
    """Whether the unit that is installed in the home is that of a bus on a loopback socket."""
    return "-m keiji.bus.loopback" in (files.read(unit_path()) or "").replace('"', "")


def mask_path() -> Path:
    """Where a link to nothing keeps the service down until the next boot."""
    return Path(systemctl.runtime_folder(), "systemd", "user", names.BUS_SERVICE)


def wanted(folders: Folders, is_loopback: bool = False) -> dict[Path, str]:
    """What has to lie where."""
    from keiji.systemd import units

    if is_loopback:
        return {unit_path(): units.render_loopback_bus(folders)}
    if shipped_unit():
        return {drop_in_path(): units.render_bus_drop_in(folders)}
    unit, activation = units.render_bus(folders)
    return {unit_path(): unit, activation_path(): activation}


def write_files(folders: Folders, is_loopback: bool = False) -> list[str]:
    """Write what differs and remove what another installation left; how those are called that differed."""
    texts = wanted(folders, is_loopback)
    left = [path for path in _named() if path not in texts and path.exists()]
    changed = []
    for path, text in texts.items():
        if left or files.read(path) != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, text, mode=0o644)
            changed.append(_named()[path])
    if left:
        _remove(left)
    return changed


def folders() -> list[Path]:
    """The folders that are keiji's and other programs'; they stay when the files are removed."""
    return [unit_path().parent, activation_path().parent]


def remove_files() -> None:
    """Remove all of them, and the mask with the folder that it may have been put into."""
    _remove([*_named(), mask_path()])
    with suppress(OSError):
        mask_path().parent.rmdir()


def told_of_files() -> None:
    """Have the session bus look at its services; the manager has read the unit already."""
    # A session bus that was installed with keiji, into a manager that runs, would wait for the next login.
    systemctl.call("start", "dbus.socket", check=False)
    # It watches a folder only that was there when it began. Where there is no session bus, nobody calls.
    systemctl.run("busctl", "--user", "call", *DAEMON, "ReloadConfig", timeout=10)
    systemctl.call("reset-failed", "--", names.BUS_SERVICE, check=False)


def advice(is_loopback: bool = False) -> list[str]:
    """A note when the manager does not find the unit, or the session bus does not know the service."""
    if systemctl.show(names.BUS_SERVICE, ["LoadState"]).get("LoadState") == "not-found":
        return [unseen()]
    return [] if is_loopback or is_activatable() else [inactivatable()]


def is_activatable() -> bool:
    """Whether a call has the service started, also a call by other programs."""
    listed = systemctl.run("busctl", "--user", "call", *DAEMON, "ListActivatableNames", timeout=10)
    # Where there is no session bus, nobody calls.
    return listed.returncode != 0 or f'"{names.BUS}"' in listed.stdout


def inactivatable() -> str:
    shipped = shipped_unit()
    folder = shipped.parents[3] / "share/dbus-1/services" if shipped else activation_path().parent
    return f"the session bus does not look into {folder}, so only keiji itself can start the bus service"


def unseen() -> str:
    """Why the manager does not find a unit that is there, and the remedy."""
    return (
        f"the user manager does not look into {unit_path().parent}, so the bus can't start: it began with "
        "another XDG_DATA_HOME; unset yours and run `keiji init`"
    )


# -- parts ----------------------------------------------------------------------------------


def _named() -> dict[Path, str]:
    """All that may be written: path → how it is called."""
    return {
        unit_path(): names.BUS_SERVICE,
        activation_path(): f"dbus-1/services/{names.BUS_SERVICE}",
        drop_in_path(): f"{names.BUS_SERVICE}.d/keiji.conf",
    }


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        drop_in_path().parent.rmdir()
