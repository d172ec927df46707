"""`keiji system uninstall` leaves everything as it was before `keiji init`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keiji.folders import Folders
from keiji.locks import task_lock

HOME = Path.home()
RUNTIME = Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"))
PRINTS = "import shared\n\n\ndef function():\n    print('ran')\n"
FAILS = "def function():\n    raise ValueError('no')\n"
LONG = "import time\n\n\ndef function():\n    time.sleep(600)\n"
DIES = "import os\n\n\ndef function():\n    os.kill(os.getpid(), 9)\n"
EVERY_SECOND = "Schedule().run().every(1).seconds()"
NIGHTLY = 'Schedule().on().every_day().at("02:30").in_timezone("Europe/Berlin")'
YEARLY = 'Schedule().cron("0 0 1 1 *").missed("skip")'


def seen(folder: Path) -> dict[str, tuple[int, str]]:
    """All that is in a folder, the folder itself too: its mode, and where it points or what it holds."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            holds = os.readlink(path)
        elif path.is_file() and os.access(path, os.R_OK):  # the manager keeps some that nobody may read
            holds = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            holds = ""
        found[str(path)] = (path.lstat().st_mode, holds)
    return found


def state(systemctl: Callable[..., str]) -> dict[str, Any]:
    """All that keiji may have touched."""
    quiet = ("--all", "--plain", "--no-legend", "--full")
    # How often the message bus was started is nobody's trace.
    runtime = {path: it for path, it in seen(RUNTIME / "systemd").items() if "invocation:dbus" not in path}
    return {
        "home": seen(HOME),
        "runtime": runtime,
        "linger": seen(Path("/var/lib/systemd/linger")),
        "units": {row.split()[0]: row.split()[1:4] for row in systemctl("list-units", *quiet).splitlines()},
        "files": systemctl("list-unit-files", "--no-legend", "--full"),
        "failed": systemctl("list-units", "--state=failed", *quiet),
        "jobs": systemctl("list-jobs", "--no-legend"),
        "environment": systemctl("show-environment"),
    }


@pytest.fixture
def home(swept) -> Iterator[None]:
    """A new account's, with nothing in it."""
    empty()
    yield
    empty()


def empty() -> None:
    assert Path("/run/home") == HOME, "no home but the harness's is emptied"
    for path in HOME.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    subprocess.run(["systemctl", "--user", "daemon-reload"], check=True)


def move_in(systemctl: Callable[..., str]) -> None:
    """The person has units of their own, one of them tied to keiji, and folders that are empty."""
    units = HOME / ".config/systemd/user"
    for folder in (units / "default.target.wants", HOME / ".local/share/systemd/timers"):
        folder.mkdir(parents=True)
    for folder in ("systemd/user", "dbus-1/services"):
        (HOME / ".local/share" / folder).mkdir(parents=True)
    for name in ("mine.service", "keiji-like.service"):
        (units / name).write_text("[Service]\nExecStart=/bin/true\n")
        (units / "default.target.wants" / name).symlink_to(f"../{name}")
    (HOME / ".local/share/systemd/timers/stamp-mine.timer").touch()
    systemctl("daemon-reload")


@pytest.fixture
def keiji_at_home(keiji, home, tmp_path) -> Any:
    """keiji in its folders at home; an editor `nano` that shows nothing; a message bus that runs already."""
    environment = dict(keiji.environment)
    for name in ("KEIJI_HOME", "KEIJI_WORKSPACE"):
        del environment[name]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nano").symlink_to("/bin/true")
    environment["PATH"] = f"{tmp_path / 'bin'}:{environment['PATH']}"
    subprocess.run(["busctl", "--user", "list"], capture_output=True, check=True)
    return type(keiji)(HOME / "keiji", HOME / ".keiji", environment)


def in_background(keiji: Any, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "keiji", *words]
    return subprocess.Popen(command, env=keiji.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def use(keiji: Any, systemctl: Callable[..., str], wait_for: Callable[..., object]) -> None:
    """All that a person does with keiji in a month."""
    keiji("init")
    (keiji.workspace / "shared.py").write_text("")
    keiji.write_task("often", PRINTS, EVERY_SECOND)
    keiji.write_task("nightly", PRINTS, NIGHTLY)
    keiji.write_task("bad", FAILS, NIGHTLY)
    keiji.write_task("yearly", PRINTS, YEARLY)
    keiji.write_task("boot", PRINTS, "Schedule().at_boot()")
    keiji.write_task("uneven", PRINTS, "Schedule().run().every(36).hours()")
    keiji.write_task("gone", PRINTS, NIGHTLY)
    keiji("task", "build", "--all")
    keiji("system", "start")
    wait_for(lambda: "succeeded" in keiji("task", "list").stdout, "a firing")
    keiji("task", "run", "nightly")
    keiji("task", "run", "bad", status=1)
    keiji("task", "disable", "yearly")
    keiji("task", "delete", "gone")
    keiji("system", "stop")
    keiji("system", "start")
    keiji("system", "start", "--bus")
    keiji("task", "logs", "nightly", "--nano")
    keiji("system", "logs", "--scheduler", "--nano")
    systemctl("set-property", "keiji-nightly.service", "MemoryMax=1G")
    systemctl("set-property", "--runtime", "keiji-nightly.service", "CPUQuota=90%")
    keiji("system", "update")
    keiji("doctor", status=1)  # lingering is off
    systemctl("start", "io.keiji.housekeeping.service")
    systemctl("stop", "keiji.target")
    keiji("system", "start")


def compare(keiji: Any, systemctl: Callable[..., str], before: dict[str, Any]) -> None:
    after = state(systemctl)
    for what, was in before.items():
        assert after[what] == was, what
    assert not subprocess.run(["pgrep", "-f", "keiji[.]"], capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize(
    ("is_lived_in", "transport"),
    [(False, "dbus"), (True, "dbus"), (True, "loopback")],
    ids=["empty home", "home that is lived in", "loopback"],
    indirect=["transport"],
)
def test_a_keiji_that_was_really_used_leaves_no_trace(keiji_at_home, systemctl, wait_for, is_lived_in):
    if is_lived_in:
        move_in(systemctl)
    before = state(systemctl)
    use(keiji_at_home, systemctl, wait_for)

    keiji_at_home("system", "uninstall", "--yes")

    compare(keiji_at_home, systemctl, before)


def test_only_the_workspace_stays_when_it_is_kept(keiji_at_home, systemctl, wait_for):
    before = state(systemctl)
    use(keiji_at_home, systemctl, wait_for)
    written = seen(keiji_at_home.workspace)

    keiji_at_home("system", "uninstall", "--yes", "--keep-workspace")

    before["home"] |= written
    compare(keiji_at_home, systemctl, before)


def test_a_stopped_keiji_with_its_bus_kept_down_leaves_no_trace(keiji_at_home, systemctl, wait_for):
    before = state(systemctl)
    use(keiji_at_home, systemctl, wait_for)
    keiji_at_home("system", "stop")

    keiji_at_home("system", "uninstall", "--yes")

    compare(keiji_at_home, systemctl, before)


def test_runs_in_progress_and_what_judges_failed_ones_end_with_it(keiji_at_home, systemctl, wait_for):
    before = state(systemctl)
    keiji = keiji_at_home
    use(keiji, systemctl, wait_for)
    keiji.write_task("long", LONG, YEARLY)
    keiji.write_task("dies", DIES, NIGHTLY)
    keiji("task", "build", "--all")
    run = in_background(keiji, "task", "run", "long")
    wait_for((keiji.home / "run" / "running" / "long").exists, "the run")

    with task_lock(Folders(keiji.workspace, keiji.home), "dies"):  # its judge waits for that
        systemctl("start", "keiji-dies.service")
        wait_for(lambda: systemctl("is-active", "io.keiji.failed.service") == "activating", "the judge")
        keiji("system", "uninstall", "--yes")

    run.communicate(timeout=60)
    compare(keiji, systemctl, before)


def test_what_keiji_s_files_were_lost_of_leaves_no_trace_either(keiji_at_home, systemctl, wait_for):
    before = state(systemctl)
    use(keiji_at_home, systemctl, wait_for)
    units = HOME / ".config" / "systemd" / "user"
    (units / "keiji-nightly.timer").unlink()
    (units / "keiji-bad.service").unlink()
    (units / "io.keiji.failed.service").unlink()
    shutil.rmtree(keiji_at_home.home / "db")
    shutil.rmtree(keiji_at_home.home / "exec")

    keiji_at_home("system", "uninstall", "--yes")

    compare(keiji_at_home, systemctl, before)


def test_folders_that_were_made_for_keiji_s_own_go_with_them(keiji, tmp_path):
    environment = {**keiji.environment, "KEIJI_HOME": str(tmp_path / "a/b/.keiji")}
    environment["KEIJI_WORKSPACE"] = str(tmp_path / "c/keiji")
    (tmp_path / "a").mkdir()
    before = seen(tmp_path)
    elsewhere = type(keiji)(tmp_path / "c/keiji", tmp_path / "a/b/.keiji", environment)
    in_background(elsewhere, "init").communicate(timeout=60)

    in_background(elsewhere, "system", "uninstall", "--yes").communicate(timeout=60)

    assert seen(tmp_path) == before
