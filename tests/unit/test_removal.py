"""What keiji has written for the manager is removed, whole or in part, and nothing of others."""

from __future__ import annotations

from pathlib import Path

import pytest
from recording import new_home

from keiji import files
from keiji.folders import Folders
from keiji.systemd import drop_ins, names, removal, units

OURS = "# Written by keiji for the task t. Changes are lost at its next build.\n"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """keiji's own units, a task of which only the service is left and one of which only the timer is."""
    folders = new_home(tmp_path)
    names.wanted_folder().mkdir(parents=True)
    names.stamp_folder().mkdir(parents=True)
    for name in (*units.render_own(folders), names.service("half"), names.timer("other")):
        (names.unit_folder() / name).write_text(OURS)
    for link in (*names.own_links(), names.wanted_folder() / names.timer("lost")):
        files.link(link, f"../{link.name}")
    for timer in (names.HOUSEKEEPING, names.timer("half")):
        (names.stamp_folder() / f"stamp-{timer}").touch()
    return folders


def left() -> set[str]:
    roots = (names.unit_folder(), names.stamp_folder())
    return {path.name for root in roots for path in root.rglob("*")}


def test_units_links_and_stamps_go(folders: Folders) -> None:
    removal.remove_files(folders)
    removal.remove_files(folders)

    assert left() == set()


def test_what_is_left_of_a_task_is_known_by_its_units(folders: Folders) -> None:
    assert removal.task_units() == [names.service("half"), names.timer("other")]


def test_what_is_not_keiji_s_stays(folders: Folders) -> None:
    mine = names.unit_folder() / "keiji-like.service"
    mine.write_text("[Service]\nExecStart=/bin/true\n")
    (names.wanted_folder() / "mine.service").symlink_to("../mine.service")
    (names.stamp_folder() / "stamp-mine.timer").touch()

    removal.remove_files(folders)

    assert left() == {"keiji-like.service", names.wanted_folder().name, "mine.service", "stamp-mine.timer"}


def a_drop_in(folder: str) -> None:
    path = names.unit_folder().parent / folder
    path.mkdir(parents=True)
    (path / "override.conf").touch()


OURS_ADDED = [
    "user/keiji-half.service.d",
    "user.control/keiji-gone.timer.d",
    "user/io.keiji.failed.service.d",
]


@pytest.mark.parametrize("folder", [*OURS_ADDED, "user/keiji-.service.d"])
def test_what_somebody_has_added_to_keiji_s_units_goes_with_them(folders: Folders, folder: str) -> None:
    a_drop_in(folder)

    removal.remove_files(folders)

    assert not (names.unit_folder().parent / folder).exists()
    assert not (names.unit_folder().parent / "user.control").exists()


@pytest.mark.parametrize("folder", ["user/keiji-like.service.d", "user/service.d", "user/mine.service.d"])
def test_what_is_added_to_others_units_stays(folders: Folders, folder: str) -> None:
    (names.unit_folder() / "keiji-like.service").write_text("[Service]\nExecStart=/bin/true\n")
    a_drop_in(folder)

    removal.remove_files(folders)

    assert (names.unit_folder().parent / folder / "override.conf").exists()


def test_with_a_task_go_its_own_drop_ins(folders: Folders) -> None:
    for folder in (
        "user/keiji-half.timer.d",
        "user.control/keiji-half.service.d",
        "user/keiji-other.timer.d",
    ):
        a_drop_in(folder)

    drop_ins.remove([names.service("half"), names.timer("half")])

    assert {path.parent.name for path in names.unit_folder().parent.rglob("*.conf")} == {
        "keiji-other.timer.d"
    }
