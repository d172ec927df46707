"""The bus service's files: a unit, and what has D-Bus start it on demand.

The unit lies in the data folder, where the runtime folder's mask comes before it; before a unit in
``~/.config`` no mask at run time has any effect (systemd.unit(5), "Unit File Load Path").
"""

from __future__ import annotations

from pathlib import Path

from keiji import files
from keiji.folders import Folders
from keiji.systemd import names, systemctl

DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


def unit_path() -> Path:
    return names.data_folder() / "systemd" / "user" / names.BUS_SERVICE


def activation_path() -> Path:
    """Where the session bus looks for services that it may have started."""
    return names.data_folder() / "dbus-1" / "services" / names.BUS_SERVICE


def mask_path() -> Path:
    """Where a link to nothing keeps the service down until the next boot."""
    return Path(systemctl.runtime_folder(), "systemd", "user", names.BUS_SERVICE)


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
    for path in (unit_path(), activation_path(), mask_path()):
        path.unlink(missing_ok=True)
    services = activation_path().parent
    for folder in (unit_path().parent, services, services.parent, mask_path().parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def told_of_files() -> None:
    """Have the session bus look at its services; the manager has read the unit already."""
    # It watches a folder only that was there when it began. Where there is no session bus, nobody calls.
    systemctl.run("busctl", "--user", "call", *DAEMON, "ReloadConfig", timeout=10)
    systemctl.call("reset-failed", "--", names.BUS_SERVICE, check=False)


def advice() -> list[str]:
    """A note when the manager does not find the unit, or the session bus does not know the service."""
    if systemctl.show(names.BUS_SERVICE, ["LoadState"]).get("LoadState") == "not-found":
        return [unseen()]
    listed = systemctl.run("busctl", "--user", "call", *DAEMON, "ListActivatableNames", timeout=10)
    if listed.returncode != 0 or f'"{names.BUS}"' in listed.stdout:
        return []
    folder = activation_path().parent
    return [f"the session bus does not look into {folder}, so only keiji itself can start the bus service"]


def unseen() -> str:
    """Why the manager does not find a unit that is there, and the remedy."""
    return (
        f"the user manager does not look into {unit_path().parent}, so the bus can't start: it began with "
        "another XDG_DATA_HOME; unset yours and run `keiji init`"
    )
