"""What plists and builds name as the interpreter is there after Homebrew has upgraded it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keiji import environment
from keiji.folders import Folders
from keiji.interpreters import lasting
from keiji.launchd import plists


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
