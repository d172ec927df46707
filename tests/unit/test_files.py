"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from keiji import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_as_it_was_given(tmp_path: Path) -> None:
    files.write(tmp_path / "a", "計時\n")

    assert files.read(tmp_path / "a") == "計時\n"
    assert names(tmp_path) == ["a"]


def test_a_file_of_garbage_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"ping\xff")

    assert files.read(tmp_path / "a") == "ping\ufffd"


def test_a_file_is_the_person_s_own_unless_it_says_otherwise(tmp_path: Path) -> None:
    files.write(tmp_path / "own", "")
    files.write(tmp_path / "all", "", mode=0o644)

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("own", "all")]
    assert modes == [0o600, 0o644]


def test_a_write_that_fails_leaves_the_old_file_and_no_spare(tmp_path: Path) -> None:
    files.write(tmp_path / "a", "old")

    with pytest.raises(UnicodeEncodeError):
        files.write(tmp_path / "a", "half\udcff")

    assert (files.read(tmp_path / "a"), names(tmp_path)) == ("old", ["a"])


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"):
        files.write(tmp_path / "a", "new")

    assert names(tmp_path) == []


def test_an_interrupt_before_the_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / "a", "old")

    def interrupted(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(tmp_path / "a", "new")

    assert (files.read(tmp_path / "a"), names(tmp_path)) == ("old", ["a"])


def test_readers_of_the_folder_pass_over_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    replace = os.replace

    def watched(spare: Path, path: Path) -> None:
        seen.extend(names(tmp_path))
        replace(spare, path)

    monkeypatch.setattr(os, "replace", watched)
    files.write(tmp_path / "a", "")
    files.link(tmp_path / "b", "a")

    assert seen[0].startswith(".a.")
    assert any(name.startswith(".b.") for name in seen)


def test_a_file_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert files.read(tmp_path / "a") is None


def test_a_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.write(tmp_path / "none" / "a", "")


def test_a_link_is_made_and_pointed_elsewhere(tmp_path: Path) -> None:
    for target in ("a", "b"):
        files.link(tmp_path / "link", target)

        assert os.readlink(tmp_path / "link") == target
    assert names(tmp_path) == ["link"]


def test_a_spare_link_that_a_kill_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / f".link.{os.getpid()}~").symlink_to("old")

    files.link(tmp_path / "link", "new")

    assert names(tmp_path) == ["link"]
