"""Builds: real executables, run as a unit would run them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from authoring import FUNCTION, SCHEDULE, SCHEDULE_HEAD, Bench, contents, firing, new_folders, write_task

from keiji import build as building
from keiji import environment, executables, kit, workspace
from keiji.build import Built
from keiji.errors import InvalidTask, NoSuchTask, UnsupportedHere
from keiji.evaluating import Evaluator
from keiji.folders import Folders
from keiji.schedule import Schedule
from keiji.task import slug_of

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = new_folders(tmp_path)
    for folder in folders.made():
        folder.mkdir(parents=True, exist_ok=True)
    write_task(folders)
    return folders


@pytest.fixture
def bench(folders: Folders) -> Bench:
    return Bench(folders)


@pytest.fixture(autouse=True)
def _closed(bench: Bench) -> object:
    yield
    bench.evaluator.close()


def _run(built: Built) -> str:
    """What the executable prints; it must succeed."""
    environ = {"PATH": os.environ["PATH"], "INVOCATION_ID": RUN}
    done = subprocess.run(built.command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# what a build is


def test_the_executable_runs_the_function(bench: Bench) -> None:
    assert _run(bench.build()) == "done\n"


def test_the_run_s_record_names_the_build(bench: Bench, folders: Folders) -> None:
    built = bench.build()
    _run(built)

    assert f"build={built.hash}\n" in (folders.done / RUN).read_text()


def test_what_is_known_of_the_task_comes_with_the_build(bench: Bench, folders: Folders) -> None:
    workspace.create_task(folders, "Ping Google", "pings “Google”")

    built = bench.build("Ping Google")

    assert (built.slug, built.name, built.description) == ("ping-google", "Ping Google", "pings “Google”")
    assert built.schedule == Schedule().run().every(10).seconds()
    assert built.command == building.command(folders, "ping-google")


def test_editing_the_source_changes_nothing_that_is_built(bench: Bench, folders: Folders) -> None:
    (folders.workspace / "common.py").write_text("WORD = 'built'\n")
    write_task(
        folders,
        function="from helper import word\ndef function():\n    print(word())\n",
        helper="import common\ndef word():\n    return common.WORD\n",
    )
    built = bench.build()
    write_task(folders, function="1/0", helper="1/0", schedule="1/0")
    (folders.workspace / "common.py").write_text("1/0")

    assert _run(built) == "built\n"


def test_the_env_file_is_read_at_each_run_and_not_copied(bench: Bench, folders: Folders) -> None:
    write_task(folders, function="import os\ndef function():\n    print(os.environ['TOKEN'])\n")
    built = bench.build()
    with (folders.tasks / "ping" / ".env").open("a") as file:
        file.write("TOKEN=s3cret\n")

    assert _run(built) == "s3cret\n"
    assert not list(folders.builds("ping").rglob(".env"))


def test_a_run_writes_nothing_into_its_build(bench: Bench, folders: Folders) -> None:
    (folders.workspace / "common.py").write_text("")
    built = bench.build()
    write_task(folders, function="import common, helper\n" + FUNCTION, helper="")
    built = bench.build()
    before = contents(folders.builds("ping"))

    _run(built)

    assert contents(folders.builds("ping")) == before


def test_only_the_person_may_look_into_a_build(bench: Bench, folders: Folders) -> None:
    built = bench.build()

    assert (folders.builds("ping") / built.hash).stat().st_mode & 0o777 == 0o700


def test_folders_with_odd_names_work(tmp_path: Path) -> None:
    folders = new_folders(tmp_path / 'it\'s 100% "odd" {build} é')
    write_task(folders)
    for folder in folders.made():
        folder.mkdir(parents=True, exist_ok=True)

    with Bench(folders) as bench:
        assert _run(bench.build()) == "done\n"


# the environment


def test_a_module_of_the_environment_is_found(bench: Bench, folders: Folders, tmp_path: Path) -> None:
    packages = Path(bench.environment.paths[0])
    (packages / "installed.py").write_text("WORD = 'installed'\n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.py").write_text("WORD = 'linked'\n")
    (packages / "linked.pth").write_text(f"{tmp_path}/elsewhere\n")
    write_task(
        folders,
        function="import installed, linked\ndef function():\n    print(installed.WORD, linked.WORD)\n",
    )

    with Bench(folders) as bench:
        built = bench.build()
        assert "-S" in built.command
        assert _run(built) == "installed linked\n"


def test_an_environment_whose_path_files_hold_code_is_run_with_site(folders: Folders, bench: Bench) -> None:
    packages = Path(bench.environment.paths[0])
    (packages / "hook.py").write_text("import sys\nsys.modules['made_by_hook'] = sys\n")
    (packages / "hook.pth").write_text("import hook\n")
    write_task(folders, function="import made_by_hook\n" + FUNCTION)

    with Bench(folders) as bench:
        built = bench.build()
        assert "-S" not in built.command
        assert _run(built) == "done\n"


# unchanged


def test_nothing_is_made_when_nothing_has_changed(bench: Bench, folders: Folders) -> None:
    first = bench.build()
    before = contents(folders.home / "exec")
    bench.evaluator.close()
    bench.evaluator = Evaluator(dataclasses.replace(bench.environment, python="/bin/false"))

    second = bench.build()

    assert (first.changed, second.changed, second.fresh) == (True, False, False)
    assert (second.hash, second.schedule, second.command) == (first.hash, first.schedule, first.command)
    assert contents(folders.home / "exec") == before


def _append(folders: Folders, name: str, text: str) -> None:
    with (folders.workspace / name).open("a") as file:
        file.write(text)


@pytest.mark.parametrize(
    "change",
    [
        lambda folders: _append(folders, "tasks/ping/function.py", "\n"),
        lambda folders: _append(folders, "tasks/ping/schedule.py", "\n"),
        lambda folders: _append(folders, "tasks/ping/data.txt", "x"),
        lambda folders: _append(folders, "tasks/ping/.env", "TASK_DESCRIPTION=another\n"),
        lambda folders: _append(folders, "tasks/ping/.env", "TASK_NAME=Ping\n"),
        lambda folders: _append(folders, "common.py", "x = 1\n"),
        lambda folders: environment.remake(folders, lambda line: None),
    ],
)
def test_whatever_goes_into_a_build_makes_another(
    bench: Bench, folders: Folders, change: Callable[[Folders], object]
) -> None:
    first = bench.build()

    change(folders)

    with Bench(folders) as later:
        second = later.build()
    assert second.changed
    assert second.hash != first.hash
    assert second.previous == first.hash


def test_another_zone_makes_another_build(bench: Bench) -> None:
    first = bench.build()
    bench.settings = type(bench.settings)(bench.folders, time_zone="Africa/Nairobi")

    assert bench.build().hash != first.hash


def test_another_way_of_firing_makes_another_build(bench: Bench) -> None:
    first = bench.build()

    assert bench.build(firing_of=lambda *_: {**firing(*_), "GUARD": "skip"}).hash != first.hash


def test_a_secret_may_change_without_a_build(bench: Bench, folders: Folders) -> None:
    bench.build()
    _append(folders, "tasks/ping/.env", "TOKEN=another\n")

    assert not bench.build().changed


def test_going_back_to_what_was_built_before_takes_the_old_build(bench: Bench, folders: Folders) -> None:
    first = bench.build()
    write_task(folders, function=FUNCTION + "\n")
    bench.build()
    write_task(folders)

    again = bench.build()

    assert (again.hash, again.changed, again.fresh) == (first.hash, True, False)
    assert executables.current(folders, "ping") == first.hash


@pytest.mark.parametrize("name", ["start.pyc", "task/function.py", "keiji/__pycache__/{cron}"])
def test_a_damaged_build_is_made_again(bench: Bench, folders: Folders, name: str) -> None:
    built = bench.build()
    cron = f"cron.{sys.implementation.cache_tag}.pyc"
    (folders.current("ping") / name.format(cron=cron)).write_bytes(b"")

    again = bench.build()

    assert (again.hash, again.changed, again.fresh) == (built.hash, False, False)
    assert _run(again) == "done\n"
    made = executables.record(folders.current("ping"))
    assert made is not None
    assert executables.is_whole(folders.current("ping"), made)


def test_an_unreadable_record_is_no_obstacle(bench: Bench, folders: Folders) -> None:
    built = bench.build()
    (folders.current("ping") / "build.json").write_text("{")

    assert bench.build().hash == built.hash
    assert _run(built) == "done\n"


# many at once


def _inode(folders: Folders, slug: str, name: str) -> int:
    return (folders.current(slug) / name).stat().st_ino


def test_builds_of_one_command_share_what_is_the_same(bench: Bench, folders: Folders) -> None:
    (folders.workspace / "common.py").write_text("WORD = 'shared'\n")
    stock = building.Stock()
    for name in ("one", "two"):
        write_task(folders, name, function="import common\ndef function():\n    print(common.WORD)\n")
        bench.build(name, stock=stock)

    for name in ("shared/common.py", "keiji/schedule.py"):
        assert _inode(folders, "one", name) == _inode(folders, "two", name)
    assert _run(bench.build("two")) == "shared\n"


def test_data_that_tasks_share_is_copied_for_each(bench: Bench, folders: Folders) -> None:
    (folders.workspace / "package").mkdir()
    for name in ("__init__.py", "data.txt"):
        (folders.workspace / "package" / name).write_text("")
    stock = building.Stock()
    for name in ("one", "two"):
        write_task(folders, name)
        bench.build(name, stock=stock)

    data = "shared/package/data.txt"
    assert _inode(folders, "one", data) != _inode(folders, "two", data)
    assert contents(folders.current("one") / "shared") == contents(folders.current("two") / "shared")


def test_a_build_that_is_gone_or_damaged_lends_nothing(bench: Bench, folders: Folders) -> None:
    (folders.workspace / "common.py").write_text("")
    stock = building.Stock()
    bench.build("ping", stock=stock)
    executables.remove(folders.current("ping").resolve())
    write_task(folders, "other", function="import common\n" + FUNCTION)

    assert _run(bench.build("other", stock=stock)) == "done\n"


# failures


def _fail(*_: object, **__: object) -> None:
    raise OSError("disk full")


STEPS = [
    "keiji.build.snapshot.task_digest",
    "keiji.build.parts.lay",
    "keiji.parts.byte_code",
    "keiji.runner_start.write_runner",
    "keiji.build.executables.sizes",
    "keiji.build.json.dumps",
    "keiji.evaluating.Evaluator.evaluate",
    "pathlib.Path.rename",
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("built_before", [False, True])
def test_a_step_that_fails_leaves_everything_as_it_was(
    bench: Bench, folders: Folders, monkeypatch: pytest.MonkeyPatch, step: str, built_before: bool
) -> None:
    if built_before:
        bench.build()
        write_task(folders, function=FUNCTION + "\n")
    before = contents(folders.home / "exec")

    with monkeypatch.context() as patch:
        patch.setattr(step, _fail)
        with pytest.raises(OSError, match="disk full"):
            bench.try_build()
    assert contents(folders.home / "exec") == before
    assert _run(bench.build()) == "done\n"


@pytest.mark.parametrize(
    "files",
    [
        {"function": "def function(:"},
        {"function": "import nowhere\n" + FUNCTION},
        {"schedule": SCHEDULE_HEAD + "    return 1\n"},
        {"schedule": SCHEDULE_HEAD + "    return Schedule().run().every(0).seconds()\n"},
    ],
)
def test_a_task_that_is_refused_leaves_everything_as_it_was(
    bench: Bench, folders: Folders, files: dict[str, str]
) -> None:
    built = bench.build()
    before = contents(folders.home)
    write_task(folders, **files)

    with pytest.raises(InvalidTask):
        bench.try_build()
    assert contents(folders.home) == before
    assert _run(built) == "done\n"


def test_what_the_system_cannot_do_leaves_everything_as_it_was(bench: Bench, folders: Folders) -> None:
    before = contents(folders.home / "exec")

    def refuse(schedule: Schedule, slug: str) -> dict[str, object]:
        raise UnsupportedHere(f"{slug}: not here")

    with pytest.raises(UnsupportedHere, match=r"tasks/ping/schedule\.py: ping: not here"):
        bench.try_build(firing_of=refuse)
    assert contents(folders.home / "exec") == before


def test_a_task_that_is_nowhere_is_named(bench: Bench) -> None:
    with pytest.raises(NoSuchTask, match="tasks/pong"):
        bench.try_build("pong")


def test_a_build_that_was_swapped_in_can_be_undone(bench: Bench, folders: Folders) -> None:
    first = bench.build()
    before = contents(folders.home)
    write_task(folders, function="def function():\n    print('later')\n")
    second = bench.build()
    assert _run(second) == "later\n"
    for path in folders.done.iterdir():
        path.unlink()

    building.swap_back(folders, second)

    assert contents(folders.home) == before
    assert _run(first) == "done\n"


def test_a_first_build_that_is_undone_leaves_nothing(bench: Bench, folders: Folders) -> None:
    building.swap_back(folders, bench.build())

    assert executables.current(folders, "ping") is None
    assert not folders.builds("ping").exists()


def test_undoing_a_build_that_changed_nothing_keeps_it(bench: Bench) -> None:
    bench.build()
    same = bench.build()

    building.swap_back(bench.folders, same)

    assert _run(same) == "done\n"


def test_a_build_that_is_killed_is_mended_by_the_next(bench: Bench, folders: Folders, tmp_path: Path) -> None:
    first = bench.build()
    reached = tmp_path / "reached"
    hang = f"import time\nopen({str(reached)!r}, 'w').close()\ntime.sleep(600)\n"
    write_task(folders, schedule=hang + SCHEDULE)
    code = (
        "import pathlib, sys, authoring\n"
        "from keiji.folders import Folders\n"
        "authoring.Bench(Folders(*map(pathlib.Path, sys.argv[1:]))).build()\n"
    )
    command = [sys.executable, "-c", code, str(folders.workspace), str(folders.home)]
    path = f"{kit.PACKAGE.parent}{os.pathsep}{Path(__file__).parent}"
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    while not reached.exists():
        assert process.poll() is None
        time.sleep(0.01)

    process.send_signal(signal.SIGKILL)
    process.wait()

    assert (folders.builds("ping") / ".new-build").is_dir()
    assert _run(first) == "done\n"
    write_task(folders, function="def function():\n    print('mended')\n")
    assert _run(bench.build()) == "mended\n"
    assert not (folders.builds("ping") / ".new-build").exists()


def test_an_interrupted_build_ends_what_it_started(bench: Bench, folders: Folders) -> None:
    before = contents(folders.home / "exec")

    def interrupt(schedule: Schedule, slug: str) -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.try_build(firing_of=interrupt)
    assert contents(folders.home / "exec") == before


# the record


def test_the_record_says_what_the_build_was_made_of(bench: Bench, folders: Folders) -> None:
    built = bench.build()

    made = json.loads((folders.current("ping") / "build.json").read_text())
    assert made["slug"] == slug_of(built.name)
    assert made["environment"] == bench.environment.name
    assert made["interpreter"] == bench.environment.interpreter
    assert Schedule.from_dict(made["schedule"]) == built.schedule
    assert made["files"]["task/function.py"] == len(FUNCTION)
