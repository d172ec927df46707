"""Many tasks in the same second: no run is lost and none is recorded twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import open_store

COUNTS = """
import os
def function():
    with open({0!r}, "a") as file:
        file.write(os.environ["TASK_NAME"] + " " + os.environ["INVOCATION_ID"] + "\\n")
"""
TASKS = 100


def set_up(keiji, log, linger=""):
    """Build the tasks and have all their timers elapse in one second that is near."""
    keiji("init")
    function = COUNTS.format(str(log)) + linger
    for number in range(TASKS):
        folder = keiji.workspace / "tasks" / f"t{number}"
        folder.mkdir(parents=True)
        (folder / ".env").write_text(f"TASK_NAME=t{number}\nTASK_DESCRIPTION=one of many\n")
        (folder / "function.py").write_text(function)
        (folder / "schedule.py").write_text(
            "from keiji import Schedule\ndef schedule():\n"
            "    return Schedule().on().every_day().at('00:00')\n"
        )
    keiji("task", "build", "--all")
    all_at_once(datetime.now(timezone.utc) + timedelta(seconds=5))
    keiji("system", "start")


def all_at_once(at):
    """A drop-in for every timer of a task: no schedule names a second, and a minute is long to wait for."""
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / "keiji-.timer.d"
    folder.mkdir()
    (folder / "at.conf").write_text(f"[Timer]\nOnCalendar=\nOnCalendar={at:%Y-%m-%d %H:%M:%S} UTC\n")


def recorded(keiji):
    """Every recorded run: task, id, result. The command delivers; the many are then read at once."""
    keiji("task", "list")
    with open_store(Settings(Folders(keiji.workspace, keiji.home))) as store:
        runs = [run for number in range(TASKS) for run in store.runs(f"t{number}")]
    return [(run.task, run.id, run.result.value) for run in runs]


def begun(log):
    return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def is_quiet(keiji):
    return not any((keiji.home / "run" / "running").iterdir())


def test_a_hundred_firings_in_one_second_are_a_hundred_records(keiji, tmp_path, wait_for):
    log = tmp_path / "log"
    set_up(keiji, log)

    wait_for(lambda: len(begun(log)) >= TASKS and is_quiet(keiji), "all firings", timeout=150)

    assert Counter(name for name, _ in begun(log)) == {f"t{number}": 1 for number in range(TASKS)}
    assert sorted(recorded(keiji)) == sorted((name, run, "succeeded") for name, run in begun(log))


def test_readers_and_kills_lose_and_double_nothing(keiji, tmp_path, wait_for):
    log = tmp_path / "log"
    set_up(keiji, log, linger="    import time\n    time.sleep(0.5)\n")
    over = threading.Event()
    readers = [threading.Thread(target=read_on, args=(keiji, over)) for _ in range(2)]
    for reader in readers:
        reader.start()
    doomed = {f"t{number}" for number in random.sample(range(TASKS), TASKS // 10)}
    killed: set[str] = set()

    wait_for(lambda: kill_some(keiji, doomed - killed, killed), "a tenth to be killed", timeout=150)
    wait_for(lambda: len(begun(log)) >= TASKS - 10 and is_quiet(keiji), "all ends", timeout=60)
    over.set()
    for reader in readers:
        reader.join()

    records = recorded(keiji)
    all_tasks = {f"t{number}" for number in range(TASKS)}
    assert Counter(name for name, _, _ in records) == dict.fromkeys(all_tasks, 1)
    assert {(name, run) for name, run in begun(log)} <= {(name, run) for name, run, _ in records}
    assert {name for name, _, result in records if result == "killed"} == doomed
    assert {name for name, _, result in records if result == "succeeded"} == all_tasks - doomed


def read_on(keiji, over):
    """A person who looks all the time; every look delivers."""
    while not over.is_set():
        subprocess.run(
            [sys.executable, "-m", "keiji", "task", "list"],
            env=keiji.environment,
            capture_output=True,
            check=False,
        )


def kill_some(keiji, doomed, killed):
    """Kill those of the doomed that run now; true when none is left to kill."""
    for name in sorted(doomed):
        path = keiji.home / "run" / "running" / name
        text = path.read_text() if path.exists() else ""
        if "began=" in text:
            os.kill(int(text.split("pid=")[1].split("\n")[0]), signal.SIGKILL)
            killed.add(name)
    return doomed <= killed
