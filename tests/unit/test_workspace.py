"""The workspace's files, new tasks, and what is read of their .env."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from authoring import contents, new_folders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keiji import scaffold, workspace
from keiji.errors import InvalidName, InvalidTask, NoSuchTask, TaskExists, UsageError
from keiji.folders import Folders
from keiji.project import read_dependencies
from keiji.runner import parse_env

one_line = st.text().filter(workspace.is_one_line)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_folders(tmp_path)


def test_a_new_workspace_has_the_files_that_an_author_starts_from(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "workspace", tmp_path / "home")

    made = workspace.make_workspace(folders, "TIME_ZONE=UTC\n")

    assert made == [
        f"made {p}" for p in (folders.workspace, folders.tasks, folders.project, folders.settings)
    ]
    assert folders.settings.read_text() == "TIME_ZONE=UTC\n"
    assert read_dependencies(folders.project) == []


def test_making_a_workspace_twice_changes_nothing(folders: Folders) -> None:
    folders.settings.write_text("TIME_ZONE=Africa/Nairobi\n")
    before = contents(folders.workspace)

    assert workspace.make_workspace(folders, "TIME_ZONE=UTC\n") == []
    assert contents(folders.workspace) == before


def test_a_new_task_has_the_four_files(folders: Folders) -> None:
    folder = workspace.create_task(folders, "Ping google", "pings google")

    assert folder == folders.tasks / "ping-google"
    assert sorted(os.listdir(folder)) == [".env", "function.py", "main.py", "schedule.py"]
    assert "Hello from Ping google" in (folder / "function.py").read_text()
    assert "every(10).seconds()" in (folder / "schedule.py").read_text()


def test_only_the_author_may_read_the_env_file(folders: Folders) -> None:
    folder = workspace.create_task(folders, "ping", "")

    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600


def test_nothing_but_tasks_remains_beside_a_new_task(folders: Folders) -> None:
    workspace.create_task(folders, "ping", "")

    assert os.listdir(folders.tasks) == ["ping"]


@pytest.mark.parametrize("name", ["Ping", "pin g", "PIN G"])
def test_a_task_of_the_same_slug_is_left_alone(folders: Folders, name: str) -> None:
    for first in ("ping", "pin-g"):
        workspace.create_task(folders, first, "the first")
    before = contents(folders.tasks)

    with pytest.raises(TaskExists):
        workspace.create_task(folders, name, "the second")
    assert contents(folders.tasks) == before


def test_with_force_the_folder_is_replaced(folders: Folders) -> None:
    folder = workspace.create_task(folders, "ping", "the first")
    (folder / "function.py").write_text("old")

    workspace.create_task(folders, "Ping", "the second", force=True)

    assert workspace.read_sources(folders, "ping").description == "the second"
    assert "Hello from Ping" in (folder / "function.py").read_text()
    assert os.listdir(folders.tasks) == ["ping"]


def test_a_replacement_that_fails_leaves_the_old_task(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.create_task(folders, "ping", "the first")
    before = contents(folders.tasks)
    rename, calls = Path.rename, []

    def fail_at_the_second(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_second)
    with pytest.raises(OSError, match="disk full"):
        workspace.create_task(folders, "ping", "the second", force=True)
    assert contents(folders.tasks) == before


def test_a_replacement_killed_between_its_renames_is_undone_by_the_next_command(folders: Folders) -> None:
    folder = workspace.create_task(folders, "ping", "the first")
    folder.rename(folders.tasks / ".old-ping")
    (folders.tasks / ".new-ping").mkdir()

    with pytest.raises(TaskExists):
        workspace.create_task(folders, "ping", "the second")
    assert workspace.read_sources(folders, "ping").description == "the first"
    assert os.listdir(folders.tasks) == ["ping"]


@pytest.mark.parametrize("name", ["", " ping", "-x", "a/b", "..", "é", "a" * 65, "ping\n"])
def test_a_name_that_is_not_allowed_makes_nothing(folders: Folders, name: str) -> None:
    with pytest.raises(InvalidName):
        workspace.create_task(folders, name, "")
    assert os.listdir(folders.tasks) == []


@pytest.mark.parametrize(
    "description", ["two\nlines", "a\rb", "tab\tbed", "\x00", "\x1b[31m", "\u2028", "\ud800"]
)
def test_a_description_is_one_line_of_text(folders: Folders, description: str) -> None:
    with pytest.raises(UsageError, match="one line"):
        workspace.create_task(folders, "ping", description)
    assert os.listdir(folders.tasks) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(description=one_line)
def test_any_description_comes_back_from_the_env_file(folders: Folders, description: str) -> None:
    workspace.create_task(folders, "ping", description, force=True)

    assert workspace.read_sources(folders, "ping").description == description


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r")))
def test_a_quoted_value_means_itself(value: str) -> None:
    assert parse_env(f"KEY={scaffold.quoted(value)}\n") == [(1, "KEY", value)]


def test_a_task_is_found_by_its_name_and_by_its_slug(folders: Folders) -> None:
    workspace.create_task(folders, "Ping google", "")

    for name in ("Ping google", "ping-google", "PING GOOGLE"):
        assert workspace.read_sources(folders, name).name == "Ping google"


def test_everything_in_the_env_file_is_read(folders: Folders) -> None:
    folder = workspace.create_task(folders, "ping", "")
    with (folder / ".env").open("a") as file:
        file.write("export TOKEN='s3cret'  # mine\n")

    assert workspace.read_sources(folders, "ping").env["TOKEN"] == "s3cret"


def test_a_task_without_a_folder_is_named(folders: Folders) -> None:
    with pytest.raises(NoSuchTask, match="tasks/ping: `keiji task create` makes it"):
        workspace.read_sources(folders, "ping")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TASK_DESCRIPTION=x\n", "TASK_NAME is missing; write TASK_NAME=ping"),
        ("TASK_NAME=\n", "TASK_NAME is missing; write TASK_NAME=ping"),
        ("TASK_NAME=pong\n", "TASK_NAME=pong belongs in the folder 'pong'"),
        ("TASK_NAME=a/b\n", "TASK_NAME: 'a/b' cannot be a task's name"),
        ("TASK_NAME=ping\n\nINVOCATION_ID=0\n", ", line 3: INVOCATION_ID is set by the system"),
        ("TASK_NAME=ping\nnonsense\n", ", line 2: not KEY=VALUE"),
        ("TASK_NAME='ping\n", ", line 1: TASK_NAME: the quote is never closed"),
        ('TASK_NAME=ping\nTASK_DESCRIPTION="a\nb"\n', "TASK_DESCRIPTION must be one line"),
        ("TASK_NAME=ping\n\udcff\n", "is not UTF-8 text"),
        (None, "is missing: it must say TASK_NAME"),
    ],
)
def test_an_env_file_that_cannot_be_used_is_refused(folders: Folders, text: str | None, message: str) -> None:
    path = workspace.create_task(folders, "ping", "") / ".env"
    path.unlink()
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(InvalidTask) as caught:
        workspace.read_sources(folders, "ping")
    assert caught.value.message.startswith(str(path))
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_only_folders_with_a_task_s_files_are_tasks(folders: Folders) -> None:
    workspace.create_task(folders, "ping", "")
    workspace.create_task(folders, "backup", "")
    for other in (".new-x", "notes"):
        (folders.tasks / other).mkdir()
    (folders.tasks / "README").touch()

    assert workspace.task_slugs(folders) == ["backup", "ping"]


def test_a_folder_that_is_not_named_by_the_slug_is_told_its_name(folders: Folders) -> None:
    folder = workspace.create_task(folders, "my_task", "")
    folder.rename(folder.with_name("My_Task"))

    with pytest.raises(InvalidTask, match=r"tasks/My_Task: .* rename it to my_task$"):
        workspace.read_sources(folders, "my_task")
