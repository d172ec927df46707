"""Changes to one task take turns."""

from __future__ import annotations

import resource
import stat
import subprocess
from pathlib import Path

import pytest
from recording import new_home, run_python, start_python

from keiji.errors import TaskBusy
from keiji.folders import Folders
from keiji.locks import task_lock

HOLD = """
import sys
from pathlib import Path
from keiji.folders import Folders
from keiji.locks import task_lock
with task_lock(Folders(Path("/nowhere"), Path(sys.argv[1])), "ping"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_home(tmp_path)


def hold(folders: Folders) -> subprocess.Popen[str]:
    """Another process that holds the lock until it is sent a line or is killed."""
    process = start_python(HOLD, folders.home)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_task_that_another_changes_is_busy(folders: Folders) -> None:
    with hold(folders) as other:
        with pytest.raises(TaskBusy, match="'ping'"), task_lock(folders, "ping", patience=0):
            pass
        other.kill()


def test_who_waits_gets_the_lock_when_it_is_let_go(folders: Folders) -> None:
    with hold(folders) as other:
        assert other.stdin is not None
        other.stdin.write("\n")
        other.stdin.flush()
        with task_lock(folders, "ping"):
            pass


def test_the_lock_of_a_process_that_was_killed_is_free(folders: Folders) -> None:
    with hold(folders) as other:
        other.kill()
        other.wait()
        with task_lock(folders, "ping", patience=0):
            pass


def test_tasks_do_not_wait_for_each_other(folders: Folders) -> None:
    with task_lock(folders, "a"), task_lock(folders, "b", patience=0):
        pass


def test_an_error_lets_the_lock_go(folders: Folders) -> None:
    with pytest.raises(RuntimeError), task_lock(folders, "ping"):
        raise RuntimeError
    with task_lock(folders, "ping", patience=0):
        pass


def test_the_file_stays_and_is_the_person_s_own(folders: Folders) -> None:
    """Unlinking it would give two holders two files."""
    with task_lock(folders, "ping"):
        pass

    assert stat.S_IMODE(folders.lock("ping").stat().st_mode) == 0o600


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    with task_lock(Folders(tmp_path, tmp_path / "home"), "ping"):
        pass


ALLOW = """
import resource, sys
from keiji.locks import allow_many
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:])))
allow_many()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, 1024), (1024, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((256, 100_000), (65536, 100_000)),
        ((70_000, 100_000), (70_000, 100_000)),
    ],
)
def test_as_many_locks_as_the_machine_allows_can_be_held(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= most < before[1]:
        pytest.skip("this machine allows fewer")

    assert tuple(map(int, run_python(ALLOW, *before).split())) == after
