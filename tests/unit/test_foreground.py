"""A task's main.py, run by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from authoring import SCHEDULE_HEAD, new_folders, ready, write_task

from keiji import kit
from keiji.environment import Environment
from keiji.folders import Folders

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    folders = new_folders(tmp_path_factory.mktemp("foreground"))
    folders.settings.write_text("TIME_ZONE=Africa/Nairobi\n")
    return folders


@pytest.fixture(scope="module")
def made(folders: Folders) -> Environment:
    return ready(folders)


@pytest.fixture
def call(folders: Folders, made: Environment) -> Call:
    """Runs main.py by the environment's Python."""
    write_task(folders)

    def call(*arguments: str, python: str = made.python, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [python, str(folders.tasks / "ping" / "main.py"), *arguments]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "KEIJI"))}
        return subprocess.run(
            command, env=clean | environ, capture_output=True, text=True, check=False, cwd=folders.home
        )

    return call


def test_run_calls_the_function_with_its_env_file(call: Call, folders: Folders) -> None:
    (folders.workspace / "common.py").write_text("import os\n")
    function = "import common\nasync def function():\n    print(common.os.environ['TASK_NAME'])\n"
    write_task(folders, function=function)

    done = call("--run")

    assert (done.returncode, done.stdout, done.stderr) == (0, "ping\n", "")


def test_run_shows_how_the_function_failed(call: Call, folders: Folders) -> None:
    write_task(folders, function="def function():\n    1 / 0\n")

    done = call("--run")

    assert done.returncode == 1
    assert f'File "{folders.tasks}/ping/function.py", line 2' in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_run_has_the_function_s_exit_status(call: Call, folders: Folders) -> None:
    write_task(folders, function="def function():\n    raise SystemExit(7)\n")

    assert call("--run").returncode == 7


def test_schedule_tells_the_next_five_times_in_the_zone_of_the_settings(call: Call) -> None:
    done = call("--schedule")

    first, *times, last = done.stdout.splitlines()
    assert first == "schedule: units:seconds,interval:10"
    assert len(times) == 5
    assert all(time.startswith("next: 2") and time.endswith("+03:00") for time in times)
    assert last == "unit: keiji-ping.timer"


def test_a_mistake_in_schedule_py_is_told_in_one_line(call: Call, folders: Folders) -> None:
    write_task(folders, schedule=SCHEDULE_HEAD + "    return Schedule().run().every(0).seconds()\n")

    done = call("--schedule")

    said = (
        f"{folders.tasks}/ping/schedule.py:5: every(n) is 0: a whole number from 1 to 315360000 is allowed\n"
    )
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize("arguments", [(), ("--run", "--schedule"), ("--other",)])
def test_other_arguments_are_refused(call: Call, arguments: tuple[str, ...]) -> None:
    assert call(*arguments).returncode == 2


def test_it_works_with_keiji_s_own_python(call: Call) -> None:
    done = call("--run", python=sys.executable, PYTHONPATH=str(kit.PACKAGE.parent))

    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_python_without_keiji_is_told_of_the_one_that_has_it(
    call: Call, made: Environment, folders: Folders
) -> None:
    done = call("--run", python=made.interpreter)

    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(f"{folders.home}/venv/current/bin/python")
