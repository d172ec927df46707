"""System tests: the program itself, against a real user manager, journal and session bus."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
HERE = Path(__file__).parent
OURS = ("keiji*", "io.keiji*")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if "KEIJI_TEST_MANAGER" not in os.environ:
        pytest.fail(
            "needs a private user manager: `make test`, or tests/harness/user-manager in front of pytest",
            pytrace=False,
        )


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness has moved home already; no test may inherit keiji's folders."""
    for name in ("KEIJI_HOME", "KEIJI_WORKSPACE", "KEIJI_HOST", "KEIJI_BUS"):
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Keiji:
    """The program, in a workspace of its own: `keiji("task", "list")` runs it and checks its exit status."""

    workspace: Path
    home: Path
    environment: dict[str, str]

    def __call__(
        self, *arguments: str, status: int | None = 0, stdin: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Returns what was printed; fails the test when the exit status is not `status` (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "keiji", *arguments],
            env=self.environment,
            cwd=self.home.parent,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if status not in (None, done.returncode):
            command = " ".join(("keiji", *arguments))
            pytest.fail(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}", pytrace=False)
        return done

    def write_task(self, name: str, function: str, schedule: str, description: str = "a test's") -> Path:
        """Creates a task whose two files hold these lines; returns its folder.

        `schedule` is the expression only, such as ``Schedule().run().every(1).seconds()``.
        """
        self("task", "create", name, "--desc", description)
        folder = self.workspace / "tasks" / name.lower().replace(" ", "-")
        (folder / "function.py").write_text(function)
        (folder / "schedule.py").write_text(
            f"from keiji import Schedule\n\n\ndef schedule():\n    return {schedule}\n"
        )
        return folder


@pytest.fixture
def swept() -> Iterator[None]:
    """keiji's units are gone from the manager after the test."""
    yield
    sweep()


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """By what directives travel; a test that is marked with `on_both` has each in turn."""
    return getattr(request, "param", "dbus")


@pytest.fixture
def keiji(tmp_path: Path, swept: None, transport: str) -> Keiji:
    """The program with empty folders."""
    folders = {"KEIJI_WORKSPACE": tmp_path / "keiji", "KEIJI_HOME": tmp_path / ".keiji"}
    environment = {**os.environ, **{name: str(folder) for name, folder in folders.items()}}
    if transport != "dbus":
        environment["KEIJI_BUS"] = transport
    return Keiji(*folders.values(), environment)


def sweep() -> None:
    """Removes keiji's unit files, links and stamps, and ends what runs."""
    for folder in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        for part in ("systemd", "dbus-1"):
            shutil.rmtree(Path(os.environ[folder], part), ignore_errors=True)
    shutil.rmtree(Path(os.environ["XDG_RUNTIME_DIR"], "systemd", "user"), ignore_errors=True)
    # Without their files the killed units have no OnFailure=, so that no handler starts for each.
    for verb in ("daemon-reload", "kill --signal=KILL", "stop", "reset-failed"):
        names = () if verb == "daemon-reload" else OURS
        subprocess.run(["systemctl", "--user", *verb.split(), *names], capture_output=True, check=False)
    # The session bus watches a folder of services only if it was there from the beginning.
    daemon = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    subprocess.run(["busctl", "--user", "call", *daemon, "ReloadConfig"], capture_output=True, check=False)


@pytest.fixture
def systemctl() -> Callable[..., str]:
    """`systemctl --user` with these arguments; returns what it printed, whatever its exit status."""

    def ask(*arguments: str) -> str:
        command = ["systemctl", "--user", "--no-pager", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return ask


@pytest.fixture
def restart_manager() -> Callable[..., None]:
    """A logout and login; with ``"--new-boot"`` a reboot, with ``"--power-cut"`` one without a warning."""

    def restart(*how: str) -> None:
        subprocess.run(["manager-restart", *how], check=True, timeout=120)

    return restart


@pytest.fixture
def wait_for() -> Callable[..., object]:
    """`wait_for(condition, what)`: looks until the condition is true and returns its value."""

    def wait(condition: Callable[[], T], what: str, timeout: float = 60) -> T:
        give_up = time.monotonic() + timeout
        while True:
            began = time.monotonic()
            if value := condition():
                return value
            now = time.monotonic()
            if now > give_up:
                pytest.fail(f"waited {timeout:g} s in vain for {what}", pytrace=False)
            time.sleep(max(0.02, now - began))  # what is waited for needs the processor, too

    return wait
