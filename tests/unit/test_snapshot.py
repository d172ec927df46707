"""What a build copies of the author's files, and what changes its digest."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from authoring import contents, new_folders, write_task

from keiji.errors import InvalidTask
from keiji.folders import Folders
from keiji.snapshot import shared_digest, task_digest


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_folders(tmp_path)


@pytest.fixture
def task(folders: Folders) -> Path:
    return write_task(folders)


def test_the_whole_folder_is_copied_but_the_env_file(task: Path, tmp_path: Path) -> None:
    (task / "data" / "empty").mkdir(parents=True)
    (task / "data" / "words.txt").write_bytes(b"\xff\x00")
    (task / "data" / ".env").write_text("of something else")
    (task / ".hidden").write_text("")

    task_digest(task, tmp_path / "copy")

    expected = contents(task)
    del expected[".env"]
    assert contents(tmp_path / "copy") == expected


@pytest.mark.parametrize("name", ["__pycache__", ".git", ".venv", "data/__pycache__", "myenv"])
def test_what_is_no_source_is_left_out(task: Path, tmp_path: Path, name: str) -> None:
    before = task_digest(task)
    (task / "data").mkdir(exist_ok=True)
    with_data = task_digest(task)
    (task / name).mkdir()
    (task / name / "x.py").touch()
    (task / name / "pyvenv.cfg").touch()

    assert task_digest(task, tmp_path / "copy") == with_data != before
    assert not (tmp_path / "copy" / name).exists()


@pytest.mark.parametrize("name", [".#function.py", ".function.py.swp"])
def test_an_editor_s_lock_changes_nothing(task: Path, name: str) -> None:
    before = task_digest(task)
    (task / name).symlink_to("somebody@somewhere.1234")

    assert task_digest(task) == before


def test_a_copy_has_the_digest_of_its_original(task: Path, tmp_path: Path) -> None:
    assert task_digest(task, tmp_path / "copy") == task_digest(task)


def _change(text: str) -> Callable[[Path], object]:
    return lambda task: (task / "function.py").write_text(text)


@pytest.mark.parametrize(
    "change",
    [
        _change("def function():\n    print('DONE')\n"),
        _change(""),
        lambda task: (task / "function.py").rename(task / "functions.py"),
        lambda task: (task / "new.txt").touch(),
        lambda task: (task / "folder").mkdir(),
        lambda task: (task / "function.py").chmod(0o755),
    ],
)
def test_every_change_of_the_folder_changes_the_digest(task: Path, change: Callable[[Path], object]) -> None:
    before = task_digest(task)

    change(task)

    assert task_digest(task) != before


def test_touching_a_file_or_changing_the_env_file_changes_nothing(task: Path) -> None:
    before = task_digest(task)

    os.utime(task / "function.py", (0, 0))
    (task / ".env").write_text("TASK_NAME=ping\nX=1\n")

    assert task_digest(task) == before


def test_a_file_that_can_be_executed_stays_so(task: Path, tmp_path: Path) -> None:
    (task / "tool").write_text("#!/bin/sh\n")
    (task / "tool").chmod(0o755)

    task_digest(task, tmp_path / "copy")

    assert stat.S_IMODE((tmp_path / "copy" / "tool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "copy" / "function.py").stat().st_mode) == 0o600


def test_links_are_replaced_by_what_they_name(task: Path, folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    (task / "file").symlink_to(tmp_path / "outside.txt")
    (folders.workspace / "lists").mkdir()
    (folders.workspace / "lists" / "a").write_text("inside")
    (task / "folder").symlink_to("../../lists")

    task_digest(task, tmp_path / "copy")

    assert not any(path.is_symlink() for path in (tmp_path / "copy").iterdir())
    assert (tmp_path / "copy" / "file").read_text() == "outside"
    assert (tmp_path / "copy" / "folder" / "a").read_text() == "inside"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere", "links to nothing"),
        (".", "links to a folder that it lies in"),
        ("..", "links to a folder that it lies in"),
        ("../..", "links to a folder that it lies in"),
        ("/usr", "links to a folder outside the workspace"),
    ],
)
def test_a_link_that_cannot_be_copied_is_refused(task: Path, target: str, message: str) -> None:
    (task / "link").symlink_to(target)

    with pytest.raises(InvalidTask, match=f"/link {message}"):
        task_digest(task)


def test_a_socket_is_refused(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(task)  # its path may be too long to bind to
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("talk")

        with pytest.raises(InvalidTask, match="/talk is neither a file nor a folder"):
            task_digest(task)


@pytest.mark.parametrize("name", ["open", "os.scandir"])
def test_what_cannot_be_read_is_named(task: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (task / "secret.key").touch()

    def refuse(path: object, *_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(f"keiji.snapshot.{name}", refuse, raising=False)  # root may read everything
    with pytest.raises(InvalidTask, match=f"^{task}.* cannot be read: Permission denied$"):
        task_digest(task)


def test_modules_and_packages_at_the_root_are_shared(folders: Folders, tmp_path: Path) -> None:
    root = folders.workspace
    for name in ("lib.py", "package/__init__.py", "package/data.txt", "plain/deep/code.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    for name in ("notes/a.txt", "not-a-name/x.py", "myenv/x.py", ".git/x.py", "tasks/ping/x.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "myenv" / "pyvenv.cfg").touch()

    shared_digest(root, tmp_path / "copy")

    found = {str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*.*")}
    assert found == {"lib.py", "package/__init__.py", "package/data.txt", "plain/deep/code.py"}


def test_tasks_and_settings_do_not_change_the_shared_digest(folders: Folders) -> None:
    before = shared_digest(folders.workspace)

    write_task(folders, "another")
    folders.settings.write_text("")

    assert shared_digest(folders.workspace) == before
