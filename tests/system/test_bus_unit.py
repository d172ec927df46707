"""The bus service's unit: installed, started, stopped to stay down, looked at and removed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wire import NAME, UNIT, Wire, WireError

YEARLY = 'Schedule().cron("0 0 1 1 *")'
STUBBORN = """\
import os, signal, time


def function():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open({deaf!r}, "w").close()
    while not os.path.exists({go!r}):
        time.sleep(0.02)
"""
PING = ["busctl", "--user", "call", NAME, "/io/keiji/Bus1", NAME, "Ping"]


@pytest.fixture
def wire() -> Iterator[Wire]:
    connection = Wire()
    yield connection
    connection.close()


@pytest.fixture
def unit(systemctl) -> Callable[[str], str]:
    """`unit("ActiveState")`: what the manager says of the bus service."""
    return lambda name: systemctl("show", "--property", name, "--value", UNIT)


@pytest.fixture
def starts_as(systemctl) -> Callable[[str], None]:
    """`starts_as(command)`: has the manager run that command line as the bus service; empty: keiji's own."""

    def change(command: str) -> None:
        folder = unit_file().with_name(f"{UNIT}.d")
        shutil.rmtree(folder, ignore_errors=True)
        if command:
            folder.mkdir()
            (folder / "test.conf").write_text(f"[Service]\nExecStart=\nExecStart={command}\n")
        systemctl("daemon-reload")

    return change


@pytest.fixture
def stop_in_flight(keiji, tmp_path, wait_for) -> Iterator[Callable[[], subprocess.CompletedProcess[str]]]:
    """The bus is stopping a run that takes its time; returns how that ended, once the run is let go."""
    keiji("init")
    deaf, go = tmp_path / "deaf", tmp_path / "go"
    keiji.write_task("slow", STUBBORN.format(deaf=str(deaf), go=str(go)), YEARLY)
    keiji("task", "build", "slow")
    run = in_background(keiji, "task", "run", "slow")
    wait_for(deaf.exists, "the run to be deaf")
    stop = in_background(keiji, "task", "stop", "slow")
    wait_for((keiji.home / "run" / "stopping" / "slow").exists, "the stop to be in flight")

    def let_go() -> subprocess.CompletedProcess[str]:
        go.touch()
        said, complaints = stop.communicate(timeout=60)
        return subprocess.CompletedProcess(stop.args, stop.returncode, said, complaints)

    yield let_go
    go.touch()
    for process in (stop, run):
        process.communicate(timeout=60)


def in_background(keiji, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "keiji", *words],
        env=keiji.environment,
        cwd=keiji.home.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def unit_file() -> Path:
    return Path(os.environ["XDG_DATA_HOME"], "systemd", "user", UNIT)


def activation_file() -> Path:
    return Path(os.environ["XDG_DATA_HOME"], "dbus-1", "services", UNIT)


def mask() -> Path:
    return Path(os.environ["XDG_RUNTIME_DIR"], "systemd", "user", UNIT)


def is_online(keiji) -> bool:
    return "bus                ONLINE" in keiji("system", "status", "--bus").stdout


# -- installation ------------------------------------------------------------------------------


def test_init_names_the_bus_s_files_when_it_writes_them_and_only_then(keiji):
    first = keiji("init").stdout
    second = keiji("init").stdout
    activation_file().unlink()
    third = keiji("init").stdout

    named = [f"installed {UNIT}", f"installed dbus-1/services/{UNIT}"]
    assert [line for line in first.splitlines() if "Bus1" in line] == named
    assert "Bus1" not in second
    assert [line for line in third.splitlines() if "Bus1" in line] == named[1:]


def test_a_call_is_answered_as_soon_as_init_has_written_again_what_was_lost(keiji, systemctl, wire):
    keiji("init")
    for file in (unit_file(), activation_file()):
        file.unlink()
    systemctl("daemon-reload")

    keiji("init")

    assert wire.call("Ping")[1] == str(keiji.home)


def test_a_bus_that_runs_by_another_installation_s_unit_ends_when_init_replaces_it(keiji, unit, wire):
    keiji("init")
    unit_file().write_text(unit_file().read_text() + "# of another keiji\n")
    wire.call("Ping")

    keiji("init")

    assert unit("ActiveState") == "inactive"
    assert wire.call("Ping")[1] == str(keiji.home)


def test_systemd_finds_nothing_to_say_about_the_unit(keiji):
    keiji("init")

    checked = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit_file()], capture_output=True, text=True, check=False
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_manager_that_looks_into_another_folder_is_told(keiji, tmp_path):
    keiji.environment["XDG_DATA_HOME"] = str(tmp_path / "data")
    told = f"the user manager does not look into {tmp_path}/data/systemd/user"

    assert told in keiji("init").stderr
    assert told in keiji("system", "start", "--bus", status=1).stderr


# -- looking -----------------------------------------------------------------------------------


def test_status_tells_that_a_call_would_be_answered_and_starts_nothing(keiji, unit, wire):
    keiji("init")

    assert is_online(keiji)
    assert (unit("ActiveState"), wire.owner()) == ("inactive", "")


def test_status_is_online_while_the_service_runs(keiji, wire):
    keiji("init")
    wire.call("Ping")

    assert is_online(keiji)


def test_a_service_that_was_killed_would_answer_the_next_call(keiji, wire, unit, systemctl, wait_for):
    keiji("init")
    wire.call("Ping")

    systemctl("kill", "--signal=KILL", UNIT)
    wait_for(lambda: unit("ActiveState") == "failed", "its end")

    assert is_online(keiji)
    assert wire.call("Ping")


def test_a_service_that_is_frozen_answers_nobody(keiji, wire, systemctl):
    keiji("init")
    wire.call("Ping")
    systemctl("kill", "--signal=STOP", UNIT)

    assert not is_online(keiji)


def test_a_service_whose_interpreter_is_gone_would_not_answer(keiji, starts_as, unit):
    keiji("init")
    starts_as("/nowhere/python -m keiji.bus.dbus")

    assert not is_online(keiji)
    assert unit("ActiveState") == "inactive"


def test_a_service_that_is_not_installed_would_not_answer(keiji, systemctl):
    keiji("init")
    unit_file().unlink()
    systemctl("daemon-reload")

    assert not is_online(keiji)


def test_a_service_whose_last_start_failed_would_not_answer_until_one_succeeds(keiji, starts_as, unit):
    keiji("init")
    starts_as(f"{sys.executable} -c 'raise SystemExit(3)'")
    assert is_online(keiji)

    keiji("system", "start", "--bus", status=1)
    assert not is_online(keiji)
    starts_as("")
    keiji("system", "start", "--bus")

    assert is_online(keiji)


def test_a_service_that_failed_after_it_had_come_up_would_answer_the_next_call(
    keiji, starts_as, tmp_path, wire, unit, wait_for
):
    keiji("init")
    script = tmp_path / "crashes.py"
    script.write_text(
        "import sys, threading\nfrom keiji.bus import dbus\nimport os\n"
        "threading.Timer(1, lambda: os._exit(3)).start()\nsys.argv[1:] = []\ndbus.main()\n"
    )
    starts_as(f"{sys.executable} {script}")
    wire.call("Ping")

    wait_for(lambda: unit("ActiveState") == "failed", "its crash")

    assert is_online(keiji)


# -- stopped stays stopped ---------------------------------------------------------------------


def test_stopped_it_stays_down_whoever_calls_until_it_is_started(keiji, wire, unit):
    keiji("init")
    wire.call("Ping")

    stopped = keiji("system", "stop", "--bus").stdout

    assert "`keiji system start --bus`" in stopped
    assert unit("ActiveState") == "inactive"
    assert not is_online(keiji)
    with pytest.raises(WireError, match="is masked"):
        wire.call("Ping", timeout=5)
    refused = keiji("task", "stop", "ping", status=1).stderr
    assert "`keiji system start --bus`" in refused
    assert "systemctl --user stop keiji-ping.timer keiji-ping.service" in refused
    assert (unit("ActiveState"), wire.owner()) == ("inactive", "")

    assert keiji("system", "start", "--bus").stdout == "bus is started\n"
    assert unit("ActiveState") == "active"
    assert wire.call("Ping", start=False)


def test_it_stays_down_though_many_call_while_it_is_stopped(keiji, wire, unit):
    keiji("init")
    wire.call("Ping")
    callers = [
        subprocess.Popen(["sh", "-c", 'while "$@"; do :; done', "sh", *PING], stderr=subprocess.DEVNULL)
        for _ in range(4)
    ]

    keiji("system", "stop", "--bus")
    before = unit("InvocationID")
    for caller in callers:
        caller.wait(timeout=60)  # each ends with the first call that is refused

    assert (unit("ActiveState"), unit("InvocationID"), wire.owner()) == ("inactive", before, "")


def test_nothing_begins_once_the_mask_is_there_though_the_manager_has_not_read_it(
    keiji, wire, unit, systemctl, wait_for
):
    keiji("init")
    wire.call("Ping")
    systemctl("kill", "--signal=KILL", UNIT)
    wait_for(lambda: unit("ActiveState") == "failed", "its end")  # so the manager keeps what it has read
    mask().parent.mkdir(parents=True, exist_ok=True)
    mask().symlink_to("/dev/null")

    systemctl("start", UNIT)

    assert (unit("LoadState"), unit("ActiveState")) == ("loaded", "failed")


def test_a_reboot_ends_the_stop(keiji, restart_manager):
    keiji("init")
    keiji("system", "stop", "--bus")

    restart_manager("--new-boot")

    assert is_online(keiji)
    assert keiji("task", "stop", "none", status=1).stderr.startswith("keiji: there is no task")


def test_stopped_with_the_system_it_comes_back_with_it_without_a_process(keiji, unit, wire):
    keiji("init")
    keiji("system", "start")
    wire.call("Ping")

    assert "bus is stopped" in keiji("system", "stop").stdout
    assert (unit("LoadState"), unit("ActiveState")) == ("masked", "inactive")
    assert "bus is started" in keiji("system", "start").stdout
    assert (unit("LoadState"), unit("ActiveState")) == ("loaded", "inactive")
    assert is_online(keiji)


def test_the_scheduler_alone_is_stopped_and_started_without_the_bus(keiji, unit, wire):
    keiji("init")
    wire.call("Ping")
    process = unit("MainPID")

    for verb in ("start", "restart", "stop"):
        assert "bus" not in keiji("system", verb, "--scheduler").stdout

    assert unit("MainPID") == process


def test_stopping_and_starting_twice_is_fine(keiji):
    keiji("init")

    assert "already" not in keiji("system", "stop", "--bus").stdout
    assert keiji("system", "stop", "--bus").stdout.startswith("bus is already stopped")
    assert keiji("system", "start", "--bus").stdout == "bus is started\n"
    assert keiji("system", "start", "--bus").stdout == "bus is already started\n"


def test_one_that_was_killed_and_stopped_starts_again(keiji, wire, unit, systemctl, wait_for):
    keiji("init")
    wire.call("Ping")
    systemctl("kill", "--signal=KILL", UNIT)
    wait_for(lambda: unit("ActiveState") == "failed", "its end")  # so the manager keeps what it has read
    keiji("system", "stop", "--bus")
    assert unit("LoadState") == "masked"

    keiji("system", "start", "--bus")

    assert wire.call("Ping", start=False)


def test_a_file_in_the_place_of_the_unit_is_named_for_it_can_not_be_kept_down(keiji, systemctl, wire):
    keiji("init")
    other = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", UNIT)
    shutil.copy(unit_file(), other)
    systemctl("daemon-reload")

    told = keiji("system", "stop", "--bus", status=1).stderr

    assert str(other) in told
    assert not mask().is_symlink()
    assert wire.call("Ping")


# -- what is in flight -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_what_is_in_flight_is_finished_first(keiji, stop_in_flight, unit, wait_for, verb):
    process = unit("MainPID")
    told = in_background(keiji, "system", verb, "--bus")
    wait_for(lambda: unit("ActiveState") == "deactivating", "the bus to be told")

    stopped = stop_in_flight()

    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert stopped.stdout.endswith("stopped; the schedule goes on\n")
    assert told.communicate(timeout=60)[0].startswith(f"bus is {verb}")
    assert told.returncode == 0
    assert unit("ActiveState") == ("inactive" if verb == "stop" else "active")
    assert unit("MainPID") != process


def test_a_call_does_not_cancel_a_stop_that_waits(keiji, stop_in_flight, unit, wire, wait_for):
    told = in_background(keiji, "system", "stop", "--bus")
    wait_for(lambda: unit("ActiveState") == "deactivating", "the bus to be told")

    with pytest.raises(WireError, match="stop"):
        wire.call("Ping", timeout=10)
    refused = keiji("task", "stop", "slow", status=1).stderr
    assert stop_in_flight().returncode == 0
    told.communicate(timeout=60)

    assert "the bus is stopped" in refused
    assert (told.returncode, unit("ActiveState")) == (0, "inactive")


def test_a_start_waits_for_the_service_that_leaves(keiji, stop_in_flight, unit, wait_for, systemctl):
    process = unit("MainPID")
    systemctl("stop", "--no-block", UNIT)
    wait_for(lambda: unit("ActiveState") == "deactivating", "the bus to leave")
    started = in_background(keiji, "system", "start", "--bus")

    assert stop_in_flight().returncode == 0
    started.communicate(timeout=60)

    assert (started.returncode, unit("ActiveState")) == (0, "active")
    assert unit("MainPID") != process


def test_at_logout_it_finishes_what_is_in_flight(keiji, stop_in_flight, unit, restart_manager, wait_for):
    logout = threading.Thread(target=restart_manager)
    logout.start()
    wait_for(lambda: unit("ActiveState") == "deactivating", "the bus to be told")

    stopped = stop_in_flight()
    logout.join(60)

    assert (stopped.returncode, stopped.stderr) == (0, "")


def test_it_ends_with_the_session_bus_and_comes_back_with_it(keiji, systemctl, unit, wait_for):
    keiji("init")
    subprocess.run(PING, check=True, capture_output=True)

    systemctl("kill", "--signal=KILL", "dbus.service")
    wait_for(lambda: unit("ActiveState") in ("inactive", "failed"), "its end")

    assert is_online(keiji)
    assert keiji("task", "stop", "none", status=1).stderr.startswith("keiji: there is no task")


def test_a_frozen_service_is_restarted(keiji, wire, systemctl):
    keiji("init")
    wire.call("Ping")
    systemctl("kill", "--signal=STOP", UNIT)

    assert keiji("system", "restart", "--bus").stdout == "bus is restarted\n"

    assert wire.call("Ping", start=False, timeout=5)


# -- errors ------------------------------------------------------------------------------------


def test_a_start_that_fails_tells_the_last_lines_of_this_try(keiji, starts_as, systemctl):
    keiji("init")
    starts_as(f"{sys.executable} -c 'raise ValueError(\"the first try\")'")
    keiji("system", "start", "--bus", status=1)
    starts_as(f"{sys.executable} -c 'raise ValueError(\"the second try\")'")

    said = keiji("system", "start", "--bus", status=1).stderr.splitlines()

    assert said[0] == "keiji: the bus does not start:"
    assert said[-1] == "`keiji system logs --bus` shows more"
    assert "ValueError: the second try" in said[-2]
    assert "first" not in "".join(said)
    assert len(said) <= 5


def test_an_interpreter_that_is_gone_is_told_in_systemd_s_words(keiji, starts_as):
    keiji("init")
    starts_as("/nowhere/python -m keiji.bus.dbus")

    assert "/nowhere/python" in keiji("system", "start", "--bus", status=1).stderr


def test_a_missing_unit_is_told_with_the_remedy(keiji, systemctl):
    keiji("init")
    unit_file().unlink()
    systemctl("daemon-reload")

    assert "`keiji init` installs it" in keiji("system", "start", "--bus", status=1).stderr


def test_somebody_s_own_mask_is_named(keiji, systemctl):
    keiji("init")
    systemctl("mask", UNIT)

    told = keiji("system", "start", "--bus", status=1).stderr

    assert f"{os.environ['XDG_CONFIG_HOME']}/systemd/user/{UNIT}" in told
    assert f"systemctl --user unmask {UNIT}" in told


def test_without_a_manager_nothing_is_changed_and_the_remedy_is_told(keiji, tmp_path):
    keiji("init")
    (tmp_path / "runtime").mkdir()
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        keiji.environment[name] = str(tmp_path / "runtime")

    for verb in ("start", "stop", "restart"):
        assert "loginctl enable-linger" in keiji("system", verb, "--bus", status=1).stderr
    assert not is_online(keiji)

    assert list((tmp_path / "runtime").iterdir()) == []


# -- logs, update, uninstall -------------------------------------------------------------------


def test_the_log_shows_the_service_s_lines_and_the_manager_s(keiji, wait_for):
    keiji("init")
    keiji("task", "stop", "none", status=1)
    keiji("system", "stop", "--bus")

    wait_for(lambda: "Stopped" in keiji("system", "logs", "--bus").stdout, "the manager's line")

    said = keiji("system", "logs", "--bus").stdout
    assert re.search(r"level=INFO event=started version=", said)
    assert "verb=stop task=none" in said


def test_an_update_ends_the_bus_that_runs_and_the_next_call_starts_the_new_one(keiji, wire, unit):
    keiji("init")
    wire.call("Ping")
    process = unit("MainPID")

    updated = keiji("system", "update").stdout

    assert updated.splitlines()[0].startswith("bus has ended")
    assert unit("ActiveState") == "inactive"
    wire.call("Ping")
    assert unit("MainPID") not in (process, "0")


def test_an_update_says_nothing_of_a_bus_that_does_not_run_and_leaves_a_stopped_one_down(keiji, unit):
    keiji("init")
    assert "bus" not in keiji("system", "update").stdout
    keiji("system", "stop", "--bus")

    keiji("system", "update")

    assert unit("LoadState") == "masked"


def test_an_update_writes_the_unit_anew(keiji, unit, wire):
    keiji("init")
    unit_file().write_text(unit_file().read_text().replace("150", "151"))

    keiji("system", "update")

    assert "TimeoutStopSec=150\n" in unit_file().read_text()
    wire.call("Ping")
    assert unit("TimeoutStopUSec") == "2min 30s"


@pytest.mark.parametrize("state", ["running", "stopped", "killed"])
def test_an_uninstall_leaves_no_trace_of_the_bus(keiji, wire, unit, systemctl, wait_for, state):
    keiji("init")
    wire.call("Ping")
    if state == "stopped":
        keiji("system", "stop", "--bus")
    elif state == "killed":
        os.kill(int(unit("MainPID")), signal.SIGKILL)
        wait_for(lambda: unit("ActiveState") == "failed", "its end")

    keiji("system", "uninstall", "--yes")

    assert (unit("LoadState"), unit("ActiveState")) == ("not-found", "inactive")
    assert not wire.owner()
    with pytest.raises(WireError, match="not provided by any"):
        wire.call("Ping", timeout=5)
    data = Path(os.environ["XDG_DATA_HOME"])
    assert not (data / "dbus-1").exists()
    assert not (data / "systemd" / "user").exists()
    assert not mask().is_symlink()
