"""What the tests of several commands share."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import postgres
import pytest
from authoring import new_folders
from commanding import Place
from standing_in import Programs

from keiji import settings
from keiji.doctor import patient
from keiji.folders import Folders


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspaces' environments, made once for all tests."""
    return tmp_path_factory.mktemp("venvs")


@pytest.fixture
def place(tmp_path: Path, environments: Path, settle: Callable[[Folders], Folders]) -> Place:
    return Place(settle(new_folders(tmp_path / "place")), environments)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests of a module are about each of its `DATABASES`, where it says none about SQLite."""
    if "settle" in metafunc.fixturenames and hasattr(metafunc.module, "DATABASES"):
        databases = [_about(name) for name in metafunc.module.DATABASES]
        metafunc.parametrize("settle", databases, indirect=True, scope="session")


def _about(database: str) -> object:
    """The parameter; old pytests stumble where a fixture that is asked for in a fixture is passed over."""
    is_had = database != "postgres" or "KEIJI_TEST_MANAGER" in os.environ or _has_postgres()
    return pytest.param(database, marks=[] if is_had else pytest.mark.skip(reason="needs PostgreSQL"))


def _has_postgres() -> bool:
    try:
        import psycopg2  # noqa: F401

        postgres.programs()
    except (ImportError, postgres.NotInstalled):
        return False
    return True


@pytest.fixture(scope="session")
def settle(request: pytest.FixtureRequest) -> Callable[[Folders], Folders]:
    """`settle(folders)`: their settings.conf names the empty database that the test is about."""

    def choose(folders: Folders) -> Folders:
        if getattr(request, "param", "sqlite") == "postgres":
            url = request.getfixturevalue("postgres").new_schema(f"t{uuid.uuid4().hex}")
            with folders.settings.open("a", encoding="utf-8") as file:
                file.write(f"DB_URL={url}\n")
        return folders

    return choose


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """systemctl, busctl, journalctl and timedatectl are stand-ins."""
    stand_ins = Programs(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return stand_ins


@pytest.fixture
def well(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A keiji in good health with the built task ping, and a doctor who doesn't wait."""
    place.folders.home.chmod(0o700)
    place.write()
    place.build()
    monkeypatch.setattr(patient, "_PAUSE", 0)
    monkeypatch.setattr(settings, "machine_zone", lambda *_: "UTC")
    return place
