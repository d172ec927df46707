"""Folders that keiji's files had made outside of its own go with them, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from keiji import traces
from keiji.folders import Folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """At home there is a folder for settings, and nothing in it."""
    (tmp_path / "config").mkdir()
    return Folders(tmp_path / "keiji", tmp_path / ".keiji")


def come(folders: Folders, *wanted: Path) -> None:
    """What `init` does."""
    missing = traces.missing([folders.home, folders.workspace, *wanted])
    for folder in (folders.home, folders.workspace, *wanted):
        folder.mkdir(parents=True, exist_ok=True)
    traces.note(folders, missing)


def test_what_was_missing_goes_and_what_was_there_stays(folders: Folders, tmp_path: Path) -> None:
    come(folders, tmp_path / "config" / "systemd" / "user", tmp_path / "data" / "services")

    traces.clear(traces.noted(folders))

    assert sorted(path.name for path in tmp_path.iterdir()) == [".keiji", "config", "keiji"]
    assert not any((tmp_path / "config").iterdir())


def test_what_others_have_put_there_stays(folders: Folders, tmp_path: Path) -> None:
    come(folders, tmp_path / "config" / "systemd" / "user")
    (tmp_path / "config" / "systemd" / "user" / "mine.service").touch()

    traces.clear(traces.noted(folders))

    assert (tmp_path / "config" / "systemd" / "user" / "mine.service").exists()


def test_the_first_init_counts(folders: Folders, tmp_path: Path) -> None:
    come(folders, tmp_path / "a")
    come(folders, tmp_path / "a", tmp_path / "b")

    assert traces.noted(folders) == [tmp_path / "a"]


def test_keiji_s_own_two_folders_are_no_traces_and_their_parents_are(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "x" / "keiji", tmp_path / "y" / ".keiji")

    come(folders)

    assert traces.noted(folders) == [tmp_path / "x", tmp_path / "y"]


def test_a_keiji_that_has_noted_nothing_clears_nothing(folders: Folders) -> None:
    folders.home.mkdir()

    assert traces.noted(folders) == []
