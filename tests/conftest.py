"""No test touches the person's home, workspace or user manager."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from postgres import NotInstalled, Server


def pytest_configure() -> None:
    """The modes of files are tested, and the person's own umask may be tight."""
    os.umask(0o022)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Home, both of keiji's folders and the run-time folder are new and empty, and no bus answers."""
    base = tmp_path_factory.mktemp("elsewhere")
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        (base / name).mkdir(mode=0o700)
        monkeypatch.setenv(name, str(base / name))
    monkeypatch.setenv("KEIJI_WORKSPACE", str(base / "HOME" / "keiji"))
    monkeypatch.setenv("KEIJI_HOME", str(base / "HOME" / ".keiji"))
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={base}/no-bus")
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    for name in ("KEIJI_HOST", "KEIJI_BUS", *(name for name in os.environ if name.startswith("PG"))):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL that tests share: each takes a schema or a database of its own, and leaves it running."""
    yield from _server()


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A PostgreSQL of the test's own, which may be stopped, frozen and killed."""
    yield from _server()


def _server() -> Iterator[Server]:
    try:
        import psycopg2  # noqa: F401

        server = Server()
    except (ImportError, NotInstalled) as missing:
        if "KEIJI_TEST_MANAGER" in os.environ:
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))  # where a package is built there is none
    try:
        yield server
    finally:
        server.remove()
