"""A failure holds its task until it is resolved; what was meant, or the machine's fault, does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

EVERY_SECOND = "Schedule().run().every(1).seconds()"
EVERY_HOUR = "Schedule().run().every(1).hours()"
FAILS = "def function():\n    raise ValueError('no such host')\n"
FAILS_WHEN_TOLD = (
    "import os\ndef function():\n    if os.path.exists({0!r}):\n        raise ValueError('told to')\n"
)
WAITS = "import time\ndef function():\n    print('begun')\n    time.sleep(600)\n"
DEAF = (
    "import signal, time\ndef function():\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    open({0!r}, 'w').close()\n    time.sleep(600)\n"
)


def runs(keiji, name):
    return json.loads(keiji("task", "history", name, "--json").stdout)


def record(keiji, name):
    return json.loads(keiji("task", "get", name, "--json").stdout)


def began(keiji, name):
    """The run in progress has made its file and its process id is known."""
    path = keiji.home / "run" / "running" / name
    text = path.read_text() if path.exists() else ""
    return int(text.split("pid=")[1].split("\n")[0]) if "began=" in text else 0


def set_up(keiji, function, schedule, name="t", start=True):
    keiji("init")
    keiji.write_task(name, function, schedule)
    keiji("task", "build", name)
    if start:
        keiji("system", "start")


def test_a_failed_run_holds_the_task_and_no_further_run_begins(keiji, wait_for, systemctl):
    set_up(keiji, FAILS, EVERY_SECOND)

    wait_for(lambda: record(keiji, "t")["is_error"], "the hold")
    wait_for(lambda: systemctl("is-active", "keiji-t.timer") == "inactive", "the timer to rest")
    assert [run["result"] for run in runs(keiji, "t")] == ["failed"]
    seen = record(keiji, "t")
    assert "ValueError: no such host" in seen["error_txt"]
    assert not seen["is_running"]
    # Not even by hand, neither keiji's nor systemd's.
    refused = keiji("task", "run", "t", status=1)
    assert "keiji task resolve t" in refused.stderr
    systemctl("start", "keiji-t.service")
    assert len(runs(keiji, "t")) == 1


def test_a_hold_outlives_the_manager_and_a_reboot(keiji, wait_for, restart_manager):
    set_up(keiji, FAILS, EVERY_SECOND)
    wait_for(lambda: record(keiji, "t")["is_error"], "the hold")
    begun = len(runs(keiji, "t"))

    restart_manager()
    assert record(keiji, "t")["is_error"]
    restart_manager("--new-boot")
    assert not record(keiji, "t")["is_running"]
    assert len(runs(keiji, "t")) == begun == 1


def test_resolve_lifts_the_hold_and_arms_the_timer(keiji, wait_for, tmp_path):
    told = tmp_path / "told"
    told.touch()
    set_up(keiji, FAILS_WHEN_TOLD.format(str(told)), EVERY_SECOND)
    wait_for(lambda: record(keiji, "t")["is_error"], "the hold")
    told.unlink()

    assert "armed" in keiji("task", "resolve", "t").stdout

    wait_for(lambda: runs(keiji, "t")[0]["result"] == "succeeded", "a run that succeeds")
    assert not record(keiji, "t")["is_error"]
    assert "it was not held" in keiji("task", "resolve", "t").stdout


def test_enabling_never_lifts_a_hold(keiji, wait_for):
    set_up(keiji, FAILS, EVERY_SECOND)
    wait_for(lambda: record(keiji, "t")["is_error"], "the hold")

    keiji("task", "disable", "t")
    keiji("task", "enable", "t")

    assert record(keiji, "t")["is_error"]
    assert len(runs(keiji, "t")) == 1


def test_a_task_that_shall_continue_is_not_held(keiji, wait_for):
    set_up(keiji, FAILS, f'{EVERY_SECOND}.on_failure("continue")')

    wait_for(lambda: len(runs(keiji, "t")) >= 2, "a run after a failed one")

    assert {run["result"] for run in runs(keiji, "t")} == {"failed"}
    assert not record(keiji, "t")["is_error"]


def test_a_killed_run_is_recorded_as_killed_and_holds(keiji, wait_for):
    set_up(keiji, WAITS, EVERY_SECOND)
    pid = wait_for(lambda: began(keiji, "t"), "the run")

    os.kill(pid, signal.SIGKILL)

    wait_for(lambda: record(keiji, "t")["is_error"], "the hold")
    (run,) = runs(keiji, "t")
    assert (run["result"], run["signal"]) == ("killed", 9)
    assert "SIGKILL" in run["error"]


def test_a_run_over_its_time_is_timed_out_after_the_last_try_and_holds(keiji, wait_for):
    set_up(keiji, WAITS, f'{EVERY_HOUR}.timeout("0.3s").retry(tries=2, delay=0)', start=False)

    keiji("task", "run", "t", status=124)

    (run,) = runs(keiji, "t")
    assert (run["result"], run["attempts"]) == ("timed-out", 2)
    assert record(keiji, "t")["is_error"]


def test_a_retry_that_succeeds_is_a_success(keiji, tmp_path):
    tried = tmp_path / "tried"
    once = f"import os\ndef function():\n    if not os.path.exists({str(tried)!r}):\n"
    once += f"        open({str(tried)!r}, 'w').close()\n        raise OSError('first')\n"
    set_up(keiji, once, f"{EVERY_HOUR}.retry(tries=3, delay=0)", start=False)

    keiji("task", "run", "t")

    (run,) = runs(keiji, "t")
    assert (run["result"], run["attempts"]) == ("succeeded", 2)


def test_a_run_that_cannot_even_start_is_recorded_and_holds(keiji, wait_for):
    set_up(keiji, "def function():\n    pass\n", EVERY_HOUR)
    unit = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / "keiji-t.service"
    unit.write_text(unit.read_text().replace("ExecStart=/", "ExecStart=/gone/"))
    subprocess.run(["systemctl", "--user", "daemon-reload"], check=True)

    subprocess.run(["systemctl", "--user", "start", "keiji-t.service"], check=False)

    wait_for(lambda: record(keiji, "t")["is_error"], "the hold")
    (run,) = runs(keiji, "t")
    assert (run["result"], run["attempts"], run["exit_status"]) == ("failed", 0, 203)
    assert "could not be started" in record(keiji, "t")["error_txt"]


def test_a_stopped_run_is_no_failure(keiji, wait_for):
    set_up(keiji, WAITS, EVERY_HOUR)
    subprocess.run(["systemctl", "--user", "start", "--no-block", "keiji-t.service"], check=True)
    wait_for(lambda: began(keiji, "t"), "the run")

    assert "stopped" in keiji("task", "stop", "t").stdout

    assert [run["result"] for run in runs(keiji, "t")] == ["stopped"]
    seen = record(keiji, "t")
    assert not seen["is_error"]
    assert seen["is_running"]


@pytest.mark.parametrize("verb", ["stop", "restart", "disable", "delete"])
def test_a_run_that_ignores_sigterm_is_stopped_all_the_same(keiji, wait_for, systemctl, tmp_path, verb):
    deaf = tmp_path / "deaf"
    set_up(keiji, DEAF.format(str(deaf)), EVERY_HOUR)
    shorten_patience("t")
    subprocess.run(["systemctl", "--user", "start", "--no-block", "keiji-t.service"], check=True)
    wait_for(deaf.exists, "the function to go deaf")

    keiji("task", verb, "t")

    assert systemctl("list-units", "--failed", "--plain", "--no-legend", "keiji-*") == ""
    if verb != "delete":
        assert [run["result"] for run in runs(keiji, "t")] == ["stopped"]
        assert not record(keiji, "t")["is_error"]


def shorten_patience(slug):
    """systemd waits 20 s for a run that ignores SIGTERM; a test need not."""
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / f"keiji-{slug}.service.d"
    folder.mkdir()
    (folder / "patience.conf").write_text("[Service]\nTimeoutStopSec=1\n")
    subprocess.run(["systemctl", "--user", "daemon-reload"], check=True)


def test_a_stop_right_after_the_start_never_holds(keiji, systemctl):
    set_up(keiji, "def function():\n    pass\n", EVERY_HOUR)

    for pause in range(30):
        subprocess.run(["systemctl", "--user", "start", "--no-block", "keiji-t.service"], check=True)
        time.sleep(pause / 1000)  # the moment of the stop is what is tried, over all of the first 30 ms
        subprocess.run(["systemctl", "--user", "stop", "keiji-t.service"], check=True)

    assert not record(keiji, "t")["is_error"]
    assert {run["result"] for run in runs(keiji, "t")} <= {"succeeded", "stopped"}
    assert systemctl("is-failed", "keiji-t.service") != "failed"


def test_a_rebuild_just_before_a_stop_never_holds(keiji):
    set_up(keiji, "def function():\n    pass\n", EVERY_SECOND)
    schedule = keiji.workspace / "tasks" / "t" / "schedule.py"

    text = schedule.read_text()
    for seconds in (2, 1, 2, 1):
        schedule.write_text(text.replace("every(1)", f"every({seconds})"))
        keiji("task", "build", "t")
        keiji("task", "stop", "t")

    assert not record(keiji, "t")["is_error"]


def test_a_run_cut_off_by_power_off_is_killed_and_not_held(keiji, wait_for, restart_manager):
    set_up(keiji, WAITS, EVERY_HOUR)
    subprocess.run(["systemctl", "--user", "start", "--no-block", "keiji-t.service"], check=True)
    wait_for(lambda: began(keiji, "t"), "the run")

    restart_manager("--power-cut")

    (run,) = runs(keiji, "t")
    assert run["result"] == "killed"
    assert "power-off" in run["error"]
    seen = record(keiji, "t")
    assert not seen["is_error"]
    assert seen["is_running"]


def test_a_run_cut_off_by_an_orderly_shutdown_is_killed_and_not_held(keiji, wait_for, restart_manager):
    set_up(keiji, WAITS, EVERY_HOUR)
    subprocess.run(["systemctl", "--user", "start", "--no-block", "keiji-t.service"], check=True)
    wait_for(lambda: began(keiji, "t"), "the run")

    restart_manager("--new-boot")

    assert [run["result"] for run in runs(keiji, "t")] == ["killed"]
    assert not record(keiji, "t")["is_error"]


def test_a_function_that_leaves_by_os_exit_or_exec_is_recorded(keiji):
    keiji("init")
    for name, way in (
        ("a", "os._exit(0)"),
        ("b", "os._exit(5)"),
        ("c", "os.execv('/bin/sh', ['sh', '-c', 'exit 6'])"),
    ):
        keiji.write_task(name, f"import os\ndef function():\n    {way}\n", EVERY_HOUR)
        keiji("task", "build", name)

    keiji("task", "run", "a")
    keiji("task", "run", "b", status=5)
    keiji("task", "run", "c", status=6)

    assert [runs(keiji, name)[0]["exit_status"] for name in "abc"] == [0, 5, 6]
    assert [record(keiji, name)["is_error"] for name in "abc"] == [False, True, True]
