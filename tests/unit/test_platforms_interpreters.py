"""What plists and builds name as the interpreter is there after Homebrew or uv has upgraded it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from authoring import new_folders

from keiji import environment
from keiji.folders import Folders
from keiji.interpreters import lasting
from keiji.launchd import plists

FRAMEWORK = "Frameworks/Python.framework/Versions/3.13/bin/python3.13"


@pytest.fixture
def brew(tmp_path: Path) -> Path:
    """Homebrew's folders with keiji 1.0 in them, whose Python is a link as in each virtual environment."""
    kept = tmp_path / "Cellar" / "keiji" / "1.0" / "libexec" / "bin"
    kept.mkdir(parents=True)
    (kept / "python").symlink_to(sys.executable)
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "keiji").symlink_to("../Cellar/keiji/1.0")
    return tmp_path


def test_a_file_of_the_cellar_is_called_by_opt(brew: Path) -> None:
    python = brew / "Cellar/keiji/1.0/libexec/bin/python"

    assert lasting(str(python)) == str(brew / "opt/keiji/libexec/bin/python")


def test_a_version_that_opt_does_not_name_keeps_its_own_path(brew: Path) -> None:
    (brew / "Cellar/keiji/0.9/bin").mkdir(parents=True)

    assert lasting(f"{brew}/Cellar/keiji/0.9/bin/python") == f"{brew}/Cellar/keiji/0.9/bin/python"


@pytest.mark.parametrize(
    ("folder", "link"),
    [
        ("cpython-3.13.5-macos-aarch64-none", "cpython-3.13-macos-aarch64-none"),
        ("cpython-3.14.0rc2+freethreaded-linux-x86_64-gnu", "cpython-3.14+freethreaded-linux-x86_64-gnu"),
    ],
)
def test_a_python_of_uvs_is_called_by_its_minor_version_where_uv_has_a_link(
    tmp_path: Path, folder: str, link: str
) -> None:
    (tmp_path / folder).mkdir()
    assert lasting(f"{tmp_path}/{folder}/bin/python3") == f"{tmp_path}/{folder}/bin/python3"

    (tmp_path / link).symlink_to(folder)

    assert lasting(f"{tmp_path}/{folder}/bin/python3") == f"{tmp_path}/{link}/bin/python3"


@pytest.mark.parametrize("path", ["/usr/bin/python3.11", "/a/Cellar/keiji", "/a/Cellar/gone/1.0/bin/python"])
def test_what_is_no_file_of_a_formula_keeps_its_path(path: str) -> None:
    assert lasting(path) == path


def test_keijis_own_agents_name_what_lasts(brew: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", f"{brew}/Cellar/keiji/1.0/libexec/bin/python")

    texts = plists.render_own(Folders(brew / "keiji", brew / ".keiji")).values()

    assert all(f"{brew}/opt/keiji/libexec/bin/python" in text and "/Cellar/" not in text for text in texts)


def test_workspaces_environments_are_made_of_what_lasts(brew: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = brew / "Cellar/keiji/1.0/bin/python3.13"
    python.parent.mkdir()
    python.touch()
    monkeypatch.setattr(sys, "_base_executable", str(python))

    assert environment.interpreter() == f"{brew}/opt/keiji/bin/python3.13"


def _pour(brew: Path, version: str) -> None:
    """Have Homebrew's links name this version of Python, and no other be there."""
    cellar = brew / "Cellar/python@3.13"
    shutil.rmtree(cellar, ignore_errors=True)
    (cellar / version / FRAMEWORK).parent.mkdir(parents=True)
    (cellar / version / FRAMEWORK).touch()
    (cellar / version / "bin").mkdir()
    (cellar / version / "bin/python3.13").symlink_to(f"../{FRAMEWORK}")
    (brew / "bin").mkdir(exist_ok=True)
    for link, target in (("opt/python@3.13", ""), ("bin/python3.13", "/bin/python3.13")):
        (brew / link).unlink(missing_ok=True)
        (brew / link).symlink_to(f"../Cellar/python@3.13/{version}{target}")


def test_what_a_workspaces_environment_links_to_is_there_after_an_upgrade(
    brew: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "_base_executable", f"{brew}/bin/python3.13")
    folders = new_folders(tmp_path)
    _pour(brew, "3.13.1")

    made = environment.ensure(folders, lambda line: None)
    _pour(brew, "3.13.2")

    assert made.interpreter == f"{brew}/opt/python@3.13/{FRAMEWORK}"
    assert Path(made.python).resolve() == brew / "Cellar/python@3.13/3.13.2" / FRAMEWORK
    assert f"home = {os.path.dirname(made.interpreter)}\n" in (made.folder / "pyvenv.cfg").read_text()
    assert environment.ensure(folders, lambda line: None) == made, "it is not made anew either"
