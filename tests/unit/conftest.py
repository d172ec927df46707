"""What the tests of several commands share."""

from __future__ import annotations

from pathlib import Path

import pytest
from commanding import Place


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspaces' environments, made once for all tests."""
    return tmp_path_factory.mktemp("venvs")


@pytest.fixture
def place(tmp_path: Path, environments: Path) -> Place:
    return Place(tmp_path / "place", environments)
