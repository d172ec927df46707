"""What keiji's units are called, and the folders they lie in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from keiji.systemd import escape

TARGET = "keiji.target"
EVERY_TIMER = "keiji-*.timer"
HOUSEKEEPING = "io.keiji.housekeeping.timer"
STARTUP = "io.keiji.startup.service"
BUS = "io.keiji.Bus1"  # the name on the session bus
BUS_SERVICE = "io.keiji.Bus1.service"

_ZONE = re.compile(r"^# Zone: (\S+), which", re.MULTILINE)


def unit_folder() -> Path:
    """Where this person's units lie (systemd.unit(5))."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "systemd" / "user"


def wanted_folder() -> Path:
    """Where a link has a unit start with the target."""
    return unit_folder() / f"{TARGET}.wants"


def own_links() -> list[Path]:
    """The links of keiji's own units that start with the target."""
    return [wanted_folder() / name for name in (HOUSEKEEPING, STARTUP)]


def enabled_target() -> Path:
    """The link by which the target starts at each boot."""
    return unit_folder() / "default.target.wants" / TARGET


def starts(link: Path) -> bool:
    """Whether a link has the manager start its unit: the manager passes by one that points to nothing."""
    try:
        if os.readlink(link) == f"../{link.name}":  # as keiji writes it
            return True
        return os.path.samefile(link, unit_folder() / link.name)
    except OSError:
        return False


def data_folder() -> Path:
    """Where this person's programs keep data, among it units and D-Bus services of theirs."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def stamp_folder() -> Path:
    """Where the manager keeps when a persistent timer last fired."""
    return data_folder() / "systemd" / "timers"


def service(slug: str) -> str:
    return f"keiji-{slug}.service"


def timer(slug: str) -> str:
    return f"keiji-{slug}.timer"


def slugs(files: Iterable[str]) -> list[str]:
    """The tasks whose timers are among the file names, in order."""
    head, tail = timer("|").split("|")
    return sorted(
        file[len(head) : -len(tail)] for file in files if file.startswith(head) and file.endswith(tail)
    )


def zone(timer_text: str) -> str | None:
    """The zone that a timer goes by where its schedule names none, as its comment tells."""
    found = _ZONE.search(timer_text)
    return found[1] if found else None


def other_owner(home: Path) -> str | None:
    """The system folder that the installed units name, if it is not `home` and still exists."""
    try:
        lines = (unit_folder() / STARTUP).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    ours = f"Environment={escape.argument(f'KEIJI_HOME={home}')}"
    said = [line for line in lines if line.startswith('Environment="KEIJI_HOME=')]
    if not said or ours in said:
        return None
    other = said[0].removeprefix('Environment="KEIJI_HOME=').removesuffix('"').replace("%%", "%")
    return other if Path(other).is_dir() else None
