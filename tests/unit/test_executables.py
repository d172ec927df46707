"""Which builds are current, kept and removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from authoring import new_folders

from keiji import executables, files
from keiji.errors import TaskNotBuilt
from keiji.folders import Folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_folders(tmp_path)


def _make(folders: Folders, *builds: str) -> None:
    """Builds, each of them a second younger than the one before."""
    for age, name in enumerate(builds):
        folder = folders.builds("ping") / name
        folder.mkdir(parents=True)
        files.write(folder / executables.RECORD, f'{{"environment": "venv-{name}", "command": ["{name}"]}}')
        os.utime(folder, (age, age))


def _left(folders: Folders) -> set[str]:
    return {path.name for path in folders.builds("ping").iterdir() if not path.is_symlink()}


def test_before_the_first_build_there_is_no_current_one(folders: Folders) -> None:
    assert executables.current(folders, "ping") is None
    with pytest.raises(TaskNotBuilt, match="`keiji task build ping`"):
        executables.command(folders, "ping")


def test_swapping_changes_the_current_build_and_its_command(folders: Folders) -> None:
    _make(folders, "a", "b")

    for build in ("a", "b", "b"):
        executables.swap(folders, "ping", build)

        assert executables.current(folders, "ping") == build
        assert executables.command(folders, "ping") == [build]


def test_the_last_three_that_were_current_are_kept(folders: Folders) -> None:
    _make(folders, "a", "b", "c", "d", "e")
    executables.swap(folders, "ping", "a")

    executables.prune(folders, "ping")

    assert _left(folders) == {"a", "d", "e"}


def test_the_current_build_is_kept_however_old(folders: Folders) -> None:
    _make(folders, "a", "b", "c", "d")
    files.link(folders.current("ping"), "a")

    executables.prune(folders, "ping")

    assert _left(folders) == {"a", "b", "c", "d"}


def test_the_build_of_a_run_in_progress_is_kept(folders: Folders) -> None:
    _make(folders, "a", "b", "c", "d", "e")
    folders.running("ping").parent.mkdir(parents=True)
    files.write(folders.running("ping"), "keiji 1\nid=0\ntask=ping\nbuild=b\npid=1\n")

    executables.prune(folders, "ping")

    assert _left(folders) == {"b", "c", "d", "e"}


def test_a_removal_that_was_cut_off_is_swept_up(folders: Folders) -> None:
    _make(folders, "a", ".old-b", ".new-build")

    executables.sweep(folders, "ping")

    assert _left(folders) == {"a"}


def test_environments_are_named_by_all_builds_of_all_tasks(folders: Folders) -> None:
    assert executables.environments(folders) == set()
    _make(folders, "a", "b", ".new-build")
    (folders.builds("other") / "c").mkdir(parents=True)
    executables.swap(folders, "ping", "a")

    assert executables.environments(folders) == {"venv-a", "venv-b"}
