"""The file that says where the service listens, and holds the key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from authoring import new_folders

from keiji.bus import loopback_key
from keiji.bus.loopback_key import Unusable
from keiji.folders import Folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    found = new_folders(tmp_path)
    found.run.mkdir(mode=0o700, parents=True)
    return found


def test_without_a_file_there_is_no_address(folders: Folders) -> None:
    assert loopback_key.read(folders) is None


def test_what_is_written_is_read_and_its_owner_s_alone(folders: Folders) -> None:
    os.umask(0)
    try:
        made = loopback_key.ensure(folders, 4711)
    finally:
        os.umask(0o022)

    assert loopback_key.read(folders) == made
    assert made.port == 4711
    assert len(made.key) == 32
    assert loopback_key.path(folders).stat().st_mode & 0o777 == 0o600
    assert os.listdir(folders.run) == ["bus.json"]


def test_the_key_stays_when_the_port_is_another(folders: Folders) -> None:
    first = loopback_key.ensure(folders, 4711)

    assert loopback_key.ensure(folders, 4711) == first
    assert loopback_key.ensure(folders, 4712).key == first.key
    assert loopback_key.renew(folders, 4712).key != first.key


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o601])
def test_a_file_that_others_may_use_is_not_trusted_and_its_key_is_renewed(
    folders: Folders, mode: int
) -> None:
    first = loopback_key.ensure(folders, 4711)
    loopback_key.path(folders).chmod(mode)

    with pytest.raises(Unusable, match=f"may be read by others \\(mode {mode:04o}\\)"):
        loopback_key.read(folders)
    assert loopback_key.ensure(folders, 4711).key != first.key
    assert loopback_key.path(folders).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_not_trusted(folders: Folders) -> None:
    loopback_key.ensure(folders, 4711)
    os.chown(loopback_key.path(folders), 65534, -1)

    with pytest.raises(Unusable, match="belongs to user 65534"):
        loopback_key.read(folders)


def test_a_link_is_not_followed_and_replaced_rather_than_written_through(
    folders: Folders, tmp_path: Path
) -> None:
    loopback_key.ensure(folders, 4711)
    elsewhere = tmp_path / "elsewhere"
    loopback_key.path(folders).rename(elsewhere)
    loopback_key.path(folders).symlink_to(elsewhere)
    before = elsewhere.read_text()

    with pytest.raises(Unusable, match="can't be opened"):
        loopback_key.read(folders)
    loopback_key.ensure(folders, 4712)

    assert elsewhere.read_text() == before
    assert not loopback_key.path(folders).is_symlink()


def test_a_pipe_in_its_place_keeps_nobody_waiting(folders: Folders) -> None:
    os.mkfifo(loopback_key.path(folders), 0o600)

    with pytest.raises(Unusable, match="is no file"):
        loopback_key.read(folders)


KEY = "ab" * 32


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"port": 4711}',
        f'{{"port": "4711", "key": "{KEY}"}}',
        f'{{"port": true, "key": "{KEY}"}}',
        f'{{"port": 0, "key": "{KEY}"}}',
        f'{{"port": 65536, "key": "{KEY}"}}',
        f'{{"port": 4711, "key": "{KEY[1:]}"}}',
        '{"port": 4711, "key": ""}',
        '{"port": 4711, "key": "' + "x" * 64 + '"}',
    ],
)
def test_a_file_that_was_damaged_is_told(folders: Folders, text: str) -> None:
    loopback_key.path(folders).write_text(text)
    loopback_key.path(folders).chmod(0o600)

    with pytest.raises(Unusable, match="is damaged"):
        loopback_key.read(folders)


def test_the_key_is_not_shown_by_chance(folders: Folders) -> None:
    made = loopback_key.ensure(folders, 4711)

    assert made.key.hex() not in repr(made)
    assert repr(made.key) not in repr(made)
