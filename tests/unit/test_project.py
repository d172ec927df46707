"""What is read of the workspace's pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from keiji import scaffold
from keiji.errors import InvalidProject, NotInitialised
from keiji.project import read_dependencies


def _written(folder: Path, text: str) -> Path:
    path = folder / "pyproject.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_a_new_project_lists_nothing(tmp_path: Path) -> None:
    assert read_dependencies(_written(tmp_path, scaffold.PROJECT)) == []


def test_the_requirements_are_read_as_they_are_listed(tmp_path: Path) -> None:
    path = _written(tmp_path, '[project]\ndependencies = ["b>=2", " a "]\n')

    assert read_dependencies(path) == ["b>=2", "a"]


@pytest.mark.parametrize("text", ["", "[project]\n", "[tool.ruff]\nline-length = 80\n"])
def test_a_project_may_list_no_dependencies_at_all(tmp_path: Path, text: str) -> None:
    assert read_dependencies(_written(tmp_path, text)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[project\n", "line 1"),
        ("[project]\ndependencies = 'a'\n", "must be a list"),
        ("[project]\ndependencies = [1]\n", "must be a list"),
        ("project = 1\n", "must be a list"),
        ("[project]\ndependencies = ['--index-url=x']\n", "'--index-url=x' is not a requirement"),
        ("[project]\ndependencies = ['']\n", "'' is not a requirement"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_file_s_name(tmp_path: Path, text: str, message: str) -> None:
    path = _written(tmp_path, text)

    with pytest.raises(InvalidProject) as caught:
        read_dependencies(path)
    assert caught.value.message.startswith(f"{path}")
    assert message in caught.value.message


def test_without_a_workspace_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotInitialised, match="`keiji init` makes it"):
        read_dependencies(tmp_path / "pyproject.toml")
