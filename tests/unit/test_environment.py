"""The workspace's environments: real ones, made without a network."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from authoring import contents, new_folders, ready

from keiji import environment, executables, files, kit
from keiji.errors import EnvironmentFailed
from keiji.folders import Folders

needs_pip = pytest.mark.skipif(
    importlib.util.find_spec("ensurepip") is None, reason="needs the package python3-venv"
)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_folders(tmp_path)


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which a test decides what there is."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def _depend_on(folders: Folders, *requirements: str) -> None:
    listed = ", ".join(f"'{requirement}'" for requirement in requirements)
    folders.project.write_text(f"[project]\nname = 'tasks'\ndependencies = [{listed}]\n")


def _wheel(folder: Path) -> str:
    """A requirement that pip can install without a network."""
    path = folder / "demo_thing-1.0-py3-none-any.whl"
    info = "demo_thing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("demo_thing.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: demo-thing\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/RECORD", f"demo_thing.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )
    return f"demo-thing @ file://{path}"


def _fake_uv(path: Path, script: str) -> None:
    uv = path / "uv"
    uv.write_text(f"#!/bin/sh\n{script}\n")
    uv.chmod(0o755)


def _says(python: str, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_task_can_import_schedule_in_a_new_environment(folders: Folders) -> None:
    made = ready(folders)

    code = "from keiji import Schedule; print(Schedule().run().every(10).seconds())"
    assert _says(made.python, code) == "units:seconds,interval:10"


def test_the_environment_has_none_of_keiji_s_own_dependencies(folders: Folders) -> None:
    made = ready(folders)

    assert _says(made.python, "from importlib import util as u; print(u.find_spec('click'))") == "None"


def test_the_interpreter_is_the_real_file_outside_any_environment(folders: Folders) -> None:
    made = ready(folders)

    assert made.interpreter == os.path.realpath(made.interpreter) == os.path.realpath(made.python)
    prefixes = _says(made.interpreter, "import sys; print(sys.prefix == sys.base_prefix)")
    assert prefixes == "True"


def test_the_paths_are_what_the_environment_adds_to_the_interpreter(folders: Folders) -> None:
    made = ready(folders)

    path = _says(made.python, "import sys; print(sys.path[-1])")
    assert made.paths == (path,)
    assert not made.needs_site


def test_the_same_dependencies_name_the_same_environment(folders: Folders) -> None:
    first = ready(folders)
    marker = first.folder / "marker"
    marker.touch()

    assert ready(folders) == first
    assert marker.exists()


def test_nothing_to_install_needs_neither_pip_nor_a_program(
    folders: Folders, bare_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)

    assert Path(ready(folders).python).exists()


def test_what_was_installed_is_written_beside_the_environment(folders: Folders) -> None:
    made = ready(folders)

    assert files.read(folders.venvs / f"{made.name}.lock") == ""


@needs_pip
def test_pip_installs_the_dependencies_without_uv(folders: Folders, tmp_path: Path, bare_path: Path) -> None:
    empty = ready(folders)
    _depend_on(folders, _wheel(tmp_path))
    said: list[str] = []
    made = environment.ensure(folders, said.append)

    assert _says(made.python, "import demo_thing; print(demo_thing.ANSWER)") == "42"
    assert (files.read(folders.venvs / f"{made.name}.lock") or "").startswith("demo-thing @ file://")
    assert any("Successfully installed" in line for line in said)
    assert made.name != empty.name
    assert Path(empty.python).exists()
    assert not made.needs_site


@needs_pip
def test_a_dependency_that_does_not_exist_leaves_everything_as_it_was(
    folders: Folders, tmp_path: Path, bare_path: Path
) -> None:
    ready(folders)
    before = contents(folders.venvs)
    _depend_on(folders, f"demo-thing @ file://{tmp_path}/demo_thing-2.0-py3-none-any.whl")

    with pytest.raises(EnvironmentFailed) as caught:
        ready(folders)
    assert len(caught.value.message.splitlines()) == 2
    assert caught.value.message.startswith(f"{folders.project}: the dependencies could not be installed:\n")
    assert "demo_thing-2.0" in caught.value.message
    assert contents(folders.venvs) == before


def test_uv_is_preferred_when_it_is_on_path(folders: Folders, bare_path: Path) -> None:
    _fake_uv(bare_path, f'echo "$@" >> {bare_path}/said; if [ "$2" = freeze ]; then echo demo==1.0; fi')
    _depend_on(folders, "demo>=1", "other")

    made = ready(folders)

    install, freeze = (bare_path / "said").read_text().splitlines()
    assert install == f"pip install --compile-bytecode --python {made.python} -- demo>=1 other"
    assert freeze == f"pip freeze --python {made.python}"
    assert files.read(folders.venvs / f"{made.name}.lock") == "demo==1.0\n"


def test_the_last_words_of_an_installer_are_in_the_error(folders: Folders, bare_path: Path) -> None:
    _fake_uv(bare_path, "echo working; echo error: No solution found; echo '  because nope'; exit 1")
    _depend_on(folders, "nope")

    with pytest.raises(EnvironmentFailed) as caught:
        ready(folders)
    assert caught.value.message.splitlines()[1] == "error: No solution found because nope"
    assert not any(path.is_dir() for path in folders.venvs.iterdir())


def test_without_any_installer_the_package_to_install_is_named(
    folders: Folders, bare_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    _depend_on(folders, "demo")

    with pytest.raises(EnvironmentFailed, match="sudo apt install python3-venv"):
        ready(folders)
    assert list(folders.venvs.iterdir()) == []


def test_an_environment_that_was_half_made_is_made_again(folders: Folders) -> None:
    made = ready(folders)
    (made.folder / ".complete").unlink()
    (made.folder / "rubbish").touch()

    assert ready(folders) == made
    assert not (made.folder / "rubbish").exists()


def test_a_command_that_is_killed_while_it_installs_is_mended_by_the_next(
    folders: Folders, bare_path: Path
) -> None:
    pid = bare_path / "pid"
    _fake_uv(bare_path, f"echo $$ > {pid}.new; /bin/mv {pid}.new {pid}; exec /bin/sleep 60")
    _depend_on(folders, "demo")
    code = (
        "import pathlib, sys; from keiji import environment; from keiji.folders import Folders; "
        "environment.ensure(Folders(*map(pathlib.Path, sys.argv[1:])), print)"
    )
    command = [sys.executable, "-c", code, str(folders.workspace), str(folders.home)]
    process = subprocess.Popen(command, cwd=kit.PACKAGE.parent, stdout=subprocess.DEVNULL)
    try:
        while not pid.exists():
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    half = [path for path in folders.venvs.iterdir() if path.is_dir()]
    assert len(half) == 1
    _fake_uv(bare_path, "true")

    made = ready(folders)

    assert made.folder == half[0]
    assert Path(made.python).exists()


def test_an_interrupted_command_ends_the_installer_and_leaves_nothing(
    folders: Folders, bare_path: Path
) -> None:
    _fake_uv(bare_path, f"echo $$ > {bare_path}/pid; echo ready; exec /bin/sleep 60")
    _depend_on(folders, "demo")

    def interrupt(line: str) -> None:
        if line == "ready":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        environment.ensure(folders, interrupt)
    assert not any(path.is_dir() for path in folders.venvs.iterdir())
    assert not Path(f"/proc/{(bare_path / 'pid').read_text().strip()}").exists()


def test_the_link_for_editors_names_the_newest_environment(folders: Folders, bare_path: Path) -> None:
    ready(folders)
    _fake_uv(bare_path, "true")
    _depend_on(folders, "demo")

    made = ready(folders)

    assert (folders.venvs / "current").resolve() == made.folder


def test_an_environment_made_anew_stands_beside_the_one_that_builds_use(folders: Folders) -> None:
    first = ready(folders)

    second = environment.remake(folders, lambda line: None)

    assert second.name == f"{first.name}.2"
    assert Path(first.python).exists()
    assert ready(folders) == second


def test_the_kit_of_an_older_keiji_is_replaced_in_place(folders: Folders) -> None:
    made = ready(folders)
    kit_file = Path(made.paths[0]) / "keiji" / "schedule.py"
    kit_file.write_text("old")

    assert ready(folders).name == made.name
    assert kit_file.read_text() == (kit.PACKAGE / "schedule.py").read_text()


def test_plain_lines_of_path_files_are_added_to_the_paths(folders: Folders, tmp_path: Path) -> None:
    packages = Path(ready(folders).paths[0])
    (packages / "inner").mkdir()
    (tmp_path / "outer").mkdir()
    (packages / "a.pth").write_text(f"# a comment\n\ninner\n{tmp_path}/outer\n{tmp_path}/missing\n")

    made = ready(folders)

    assert made.paths == (str(packages), str(packages / "inner"), str(tmp_path / "outer"))
    assert not made.needs_site


def test_path_files_with_code_need_site(folders: Folders) -> None:
    packages = Path(ready(folders).paths[0])
    (packages / "editable.pth").write_text("import editable_finder; editable_finder.install()\n")

    assert ready(folders).needs_site


def test_old_environments_that_no_build_names_are_removed(folders: Folders, bare_path: Path) -> None:
    old, named = ready(folders), environment.remake(folders, lambda line: None)
    build = folders.builds("ping") / "0123"
    build.mkdir(parents=True)
    files.write(build / executables.RECORD, f'{{"environment": "{named.name}"}}')
    for made in (old, named):
        os.utime(made.folder / ".complete", (0, 0))
    _fake_uv(bare_path, "true")
    _depend_on(folders, "demo")

    newest = ready(folders)

    kept = {path.name for path in folders.venvs.iterdir() if path.is_dir() and not path.is_symlink()}
    assert kept == {named.name, newest.name}
    assert not (folders.venvs / f"{old.name}.lock").exists()


def test_an_environment_that_a_command_may_be_building_with_stays(folders: Folders, bare_path: Path) -> None:
    in_use = ready(folders)
    _fake_uv(bare_path, "true")
    _depend_on(folders, "demo")

    ready(folders)

    assert Path(in_use.python).exists()


def test_a_system_folder_that_no_environment_can_lie_in_is_refused(tmp_path: Path) -> None:
    folders = new_folders(tmp_path / "a:b")

    with pytest.raises(EnvironmentFailed, match="choose another KEIJI_HOME"):
        ready(folders)
    assert not folders.home.exists()
