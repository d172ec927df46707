"""Removing what keiji has written for the manager, also of tasks of which only a part is left."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from keiji.folders import Folders
from keiji.systemd import bus_unit, drop_ins, names

_WRITTEN = "# Written by keiji"


def task_units() -> list[str]:
    """The unit files of tasks that are there, whole pairs or not."""
    folder = names.unit_folder()
    found = [*folder.glob("keiji-*.service"), *folder.glob("keiji-*.timer")]
    return sorted(path.name for path in found if path.is_file() and _is_written_by_keiji(path))


def remove_files(folders: Folders) -> None:
    """Remove all units, drop-ins, links and stamps of keiji's; folders of other programs', too, stay."""
    from keiji.systemd import units

    folder, wants = names.unit_folder(), names.wanted_folder()
    own = [folder / name for name in (*units.render_own(folders), *task_units())]
    links = [names.enabled_target(), *names.own_links(), *wants.glob(names.EVERY_TIMER)]
    stamps = [names.stamp_folder() / f"stamp-{names.HOUSEKEEPING}"]
    stamps += names.stamp_folder().glob(f"stamp-{names.EVERY_TIMER}")
    for path in (*own, *links, *stamps):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        wants.rmdir()
    bus_unit.remove_files()
    drop_ins.remove_all()


def _is_written_by_keiji(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(_WRITTEN)
