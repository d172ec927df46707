"""Drop-ins: what a person adds to keiji's units, by `systemctl --user edit`, `set-property` or by hand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from keiji import files
from keiji.systemd import bus_unit, names, systemctl

_OURS = ("keiji-*.service.d", "keiji-*.timer.d", "keiji.target.d", "io.keiji.*.d")

_SHIPPED = ("/usr/", "/lib/")  # the system's own, for all services of all persons
# What sets bounds or says something.
_MILD = re.compile(r"(Nice|CPU|IO|Memory|Tasks|Limit|OOM|Description|Documentation|Log|X-)\w*\s*=")


def remove(units: Iterable[str]) -> None:
    """Remove the drop-ins of these units."""
    for unit in units:
        for folder in _folders():
            _remove(folder / f"{unit}.d")


def remove_all() -> None:
    """Remove those of all units of keiji's, also of tasks that are gone; not those of other units."""
    for drop_ins in _found():
        unit = drop_ins.name.removesuffix(".d")
        if not (names.unit_folder() / unit).exists():  # keiji's own are gone by now
            _remove(drop_ins)


def foreign(shown: Mapping[str, str]) -> list[str]:
    """Those of a unit, as `systemctl show` prints it, that are neither keiji's nor the system's own."""
    paths = shlex.split(shown.get("DropInPaths", ""))
    found = [path for path in paths if not path.startswith(_SHIPPED) and path != str(bus_unit.drop_in_path())]
    return [path for path in found if os.path.exists(path)]  # for one that is gone a reload is due


def is_mild(path: Path) -> bool:
    """Whether it changes neither whether nor when nor what a unit executes."""
    try:
        lines = (files.read(path) or "").splitlines()
    except OSError:
        return False
    return all(_MILD.match(line.strip()) for line in lines if line.strip() and line.strip()[0] not in "[#;")


def _found() -> Iterator[Path]:
    for folder in _folders():
        for pattern in _OURS:
            yield from folder.glob(pattern)


def _folders() -> list[Path]:
    """Where a person's drop-ins lie: for good, and until the next boot."""
    kept, volatile = names.unit_folder().parent, Path(systemctl.runtime_folder(), "systemd")
    return [kept / "user", kept / "user.control", volatile / "user", volatile / "user.control"]


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):  # the manager makes it for the first of them
        if folder.parent.name == "user.control":
            folder.parent.rmdir()
