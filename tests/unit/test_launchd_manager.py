"""The host over launchd, against the strict stand-in: each race, exit code and fault that is written down.

The tasks' runs are really run, by the runner of a build made by hand.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_launchd import FakeLaunchd
from runner_build import PYTHON, START, Build
from test_runner_rare import HELLO, WAITS

from keiji import executables, files, running
from keiji.errors import BusUnavailable, HostFailed, NotInitialised
from keiji.folders import Folders
from keiji.launchd import launchctl, loading, names
from keiji.launchd.manager import LaunchdHost
from keiji.schedule import Schedule
from keiji.task import Task

LABEL = "io.keiji.task.demo"
NOON = Schedule().on().every_day().at("12:00").in_timezone("UTC")
SECONDS = Schedule().run().every(1).seconds()


def until(what: Callable[[], object], patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Mac:
    """A person's machine: a home, launchd, and the task demo with its build."""

    def __init__(self, tmp_path: Path, fake: FakeLaunchd) -> None:
        self.fake = fake
        self.folders = Folders(tmp_path / "keiji", tmp_path / "home" / ".keiji")
        self.host = LaunchdHost(self.folders)
        self.made: Build | None = None

    def init(self) -> list[str]:
        for folder in self.folders.made():
            folder.mkdir(parents=True, exist_ok=True)
        return self.host.install_system()

    def build(self, schedule: Schedule = NOON, function: str = HELLO) -> None:
        """As `task build` does it: the build, the plist, and the arming where the system is started."""
        if self.made is None:
            for folder in ("running", "done", "damaged", "held", "requested", "stopping", "last"):
                (self.folders.run / folder).rmdir()
            constants = {"KIND": schedule.kind, **self.host.firing(schedule, "demo")}
            constants |= {"SCHEDULE": schedule.to_dict(), "JITTER": float(schedule.policy.jitter)}
            self.made = Build(self.folders.home, function, **constants)
            self.host.set_enabled("demo", True)
        record = json.dumps({"schedule": schedule.to_dict()})
        (self.made.folder / executables.RECORD).write_text(record, encoding="utf-8")
        self.write(schedule)
        if self.host.is_started():
            self.host.arm(["demo"])

    def write(self, schedule: Schedule, name: str = "demo") -> None:
        task = Task(name, "shows it", schedule, "a1b2", "host", "an-id")
        command = [PYTHON, "-I", "-S", "-u", str(self.folders.current(name) / START)]
        for path, text in self.host.render(task, command).items():
            files.write(path, text, mode=0o644)

    def ask(self) -> str:
        job = self.fake.job(LABEL)
        if job and "KeepAlive" not in job["plist"]:  # launchd looks for what was missed when it loads it
            until(lambda: (self.fake.job(LABEL) or {"minder": False})["minder"] is False)
        (self.folders.requested("demo")).write_text("")
        return self.host.start_run("demo")

    def results(self) -> list[str]:
        return [
            line.removeprefix("result=")
            for path in sorted(self.folders.done.iterdir())
            for line in path.read_text().splitlines()
            if line.startswith("result=")
        ]

    @property
    def is_armed(self) -> bool:
        return self.host.timers(["demo"])["demo"].is_active


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLaunchd]:
    stand_in = FakeLaunchd(tmp_path / "launchd")
    monkeypatch.setenv("PATH", f"{stand_in.bin}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KEIJI_HOST", "macos")
    monkeypatch.setattr(sys, "executable", shutil.which("true"))  # what keiji's own agents run is no matter
    yield stand_in
    stand_in.close()
    assert stand_in.state["breaches"] == []


@pytest.fixture
def mac(tmp_path: Path, fake: FakeLaunchd, monkeypatch: pytest.MonkeyPatch) -> Mac:
    # A process for each call would take most of the time; the walk, and each fault of its own, has one.
    monkeypatch.setattr(subprocess, "run", fake.run)
    monkeypatch.setattr(loading, "_LOOK", 0.02)
    monkeypatch.setattr(loading, "_AGAIN", 0.05)
    return Mac(tmp_path, fake)


@pytest.fixture
def started(mac: Mac) -> Mac:
    mac.init()
    mac.build()
    mac.host.start_system()
    return mac


# a task's life


def test_nothing_is_loaded_before_the_system_is_started(mac: Mac) -> None:
    assert mac.init() == ["io.keiji.housekeeping.plist", "io.keiji.startup.plist"]
    mac.build()

    assert mac.fake.job(LABEL) is None
    assert not mac.host.is_started()
    assert mac.fake.state["disabled"][LABEL], "else the next login would load it"
    assert mac.init() == []


def test_starting_the_system_arms_what_is_enabled(started: Mac) -> None:
    assert started.host.is_started()
    assert started.is_armed
    assert started.fake.job("io.keiji.housekeeping")


def test_starting_a_system_that_is_not_installed_is_refused(mac: Mac) -> None:
    with pytest.raises(NotInitialised):
        mac.host.start_system()


def test_stopping_the_system_keeps_the_next_login_from_starting_it(started: Mac) -> None:
    started.host.stop_system()

    assert (started.host.is_started(), started.is_armed) == (False, False)
    assert started.fake.state["jobs"] == {}
    assert all(started.fake.state["disabled"][label] for label in (LABEL, names.HOUSEKEEPING))
    assert started.host.is_enabled("demo"), "it is the system that was stopped"


def test_a_disabled_task_stays_so_when_the_system_is_started_again(started: Mac) -> None:
    started.host.set_enabled("demo", False)
    started.host.disarm(["demo"])
    started.host.stop_system()

    started.host.start_system()

    assert (started.host.is_enabled("demo"), started.is_armed) == (False, False)
    assert started.fake.state["disabled"][LABEL]


def test_a_timer_s_firing_becomes_a_run(mac: Mac) -> None:
    mac.init()
    mac.build()
    mac.host.start_system()
    minute = time.gmtime()
    now = Schedule().on().every_day().at(f"{minute.tm_hour:02}:{minute.tm_min:02}").in_timezone("UTC")
    assert mac.made
    mac.made.patch("start.py", repr(NOON.to_dict()), repr(now.to_dict()))
    mac.folders.last("demo").write_text("1000.000000\n")

    mac.fake.fire(LABEL)

    until(lambda: mac.results() == ["succeeded"])


def test_a_run_that_is_asked_for_begins_under_the_task_s_own_agent(started: Mac) -> None:
    run = started.ask()

    until(lambda: started.results() == ["succeeded"])
    assert started.folders.done.joinpath(run).exists()
    assert set(started.fake.calls("kickstart")) == {f"kickstart gui/{os.getuid()}/{LABEL}"}


def test_a_disabled_task_can_be_run_by_hand_and_is_not_armed_by_it(started: Mac) -> None:
    started.host.set_enabled("demo", False)
    started.host.disarm(["demo"])

    started.ask()

    until(lambda: started.results() == ["succeeded"])
    assert not started.is_armed
    assert started.fake.job("io.keiji.once.demo")
    started.ask()
    until(lambda: started.results() == ["succeeded", "succeeded"])


def test_stopping_a_run_leaves_the_schedule(mac: Mac) -> None:
    mac.init()
    mac.build(function=WAITS)
    mac.host.start_system()
    run = mac.ask()
    files.write(mac.folders.stopping("demo"), f"{run}\n")
    assert mac.host.ending("demo").is_active

    mac.host.stop_run("demo")

    assert mac.results() == ["stopped"]
    assert mac.is_armed
    assert not mac.host.ending("demo").is_active


def waiting(mac: Mac, function: str = HELLO) -> Path:
    """A task whose process waits in a jitter of hours; the file that tells of it."""
    mac.init()
    noon = time.gmtime(time.time() - 60)
    at = f"{noon.tm_hour:02}:{noon.tm_min:02}"
    mac.build(Schedule().on().every_day().at(at).in_timezone("UTC").jitter("23h"), function)
    assert mac.made
    mac.made.patch("keiji_runner_launchd.py", "share = ", "share = 0.9 or ")
    mac.host.start_system()
    until(lambda: not mac.fake.job(LABEL)["minder"])
    mac.folders.last("demo").write_text("1000.000000\n")
    mac.fake.fire(LABEL)
    note = mac.folders.run / "launchd/waiting/demo"
    until(note.exists)
    return note


def test_a_process_that_only_waits_is_no_run(mac: Mac) -> None:
    waiting(mac)

    assert not mac.host.ending("demo").is_active
    assert mac.host.failed() == []
    assert mac.is_armed


def test_a_stop_where_nothing_runs_leaves_the_process_that_waits(mac: Mac) -> None:
    note = waiting(mac)
    pid = mac.fake.job(LABEL)["pid"]

    mac.host.stop_run("demo")

    assert mac.fake.job(LABEL)["pid"] == pid
    assert note.read_text().startswith(f"{pid} ")


def test_a_run_that_is_asked_for_begins_though_a_process_waits_and_that_waits_again(mac: Mac) -> None:
    note = waiting(mac)
    files.write(mac.folders.requested("demo"), "")

    run = mac.host.start_run("demo")

    until(lambda: mac.results() == ["succeeded"])
    assert mac.folders.done.joinpath(run).exists()
    until(note.exists)


def test_a_time_whose_jitter_goes_on_is_kept_though_the_run_that_was_asked_for_is_stopped(mac: Mac) -> None:
    note = waiting(mac, WAITS)
    due = note.read_text().split()[1]
    files.write(mac.folders.requested("demo"), "")
    run = mac.host.start_run("demo")
    files.write(mac.folders.stopping("demo"), f"{run}\n")

    mac.host.stop_run("demo")

    assert mac.results() == ["stopped"]
    until(note.exists)
    assert note.read_text().split()[1] == due


def test_a_time_whose_jitter_goes_on_is_kept_while_the_plist_is_changed(mac: Mac) -> None:
    """`rested`: it is disarmed and armed again for that alone."""
    note = waiting(mac)
    pid, since = mac.fake.job(LABEL)["pid"], time.time()
    due = note.read_text().split()[1]

    mac.host.disarm(["demo"])
    mac.host.arm(["demo"], {"demo": since})

    until(lambda: files.read(note) and note.read_text().split()[0] != str(pid))
    assert note.read_text().split()[1] == due


def test_a_time_whose_jitter_goes_on_is_kept_by_a_build_with_another_jitter(mac: Mac) -> None:
    note = waiting(mac)
    due, pid = note.read_text().split()[1], mac.fake.job(LABEL)["pid"]

    assert mac.made
    mac.build(Schedule.from_dict(mac.made.constants["SCHEDULE"]).jitter("22h"))

    until(lambda: files.read(note) and note.read_text().split()[0] != str(pid))
    assert note.read_text().split()[1] == due


def test_a_time_that_was_dealt_with_since_is_not_awaited_again(mac: Mac) -> None:
    """A process that was killed left word of it."""
    note = waiting(mac)
    due = float(note.read_text().split()[1])
    mac.host.disarm(["demo"])
    mac.folders.last("demo").write_text(f"{due + 60:.6f}\n")

    mac.host.arm(["demo"], {"demo": time.time()})

    assert float(mac.folders.last("demo").read_text()) > due


def test_a_time_whose_jitter_goes_on_is_dropped_with_the_arming_that_a_person_takes_back(mac: Mac) -> None:
    note = waiting(mac)

    mac.host.disarm(["demo"])
    mac.host.arm(["demo"])

    until(lambda: not mac.fake.job(LABEL)["minder"])
    assert not note.exists()
    assert mac.results() == []


def test_disarming_lets_a_run_go_on_and_begins_no_other(mac: Mac) -> None:
    mac.init()
    mac.build(function=WAITS)
    mac.host.start_system()
    mac.ask()

    mac.host.disarm(["demo"])

    assert mac.host.ending("demo").is_active
    assert not mac.is_armed
    files.write(mac.folders.stopping("demo"), "*\n")
    mac.host.stop_run("demo")
    mac.folders.last("demo").write_text("1000.000000\n")
    mac.fake.fire(LABEL)
    until(lambda: mac.fake.job(LABEL)["minder"] is False)
    assert mac.results() == ["stopped"]
    mac.host.arm(["demo"])
    assert mac.is_armed


def test_a_plist_that_changes_during_a_run_is_loaded_after_it(mac: Mac) -> None:
    mac.init()
    mac.build(function=WAITS)
    mac.host.start_system()
    mac.ask()

    mac.build(Schedule().on().every_day().at("13:00").in_timezone("UTC"))
    assert mac.host.ending("demo").is_active, "the run goes on"
    mac.host.stop_run("demo")

    assert not mac.is_armed, "so that housekeeping arms it anew"
    mac.host.arm(["demo"])
    assert mac.is_armed
    assert mac.fake.job(LABEL)["plist"]["StartCalendarInterval"][0]["Hour"] in range(24)
    assert loading.is_current(mac.folders, LABEL)


def test_a_firing_amid_the_loading_of_another_plist_begins_nothing_that_this_would_end(
    started: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    unload = loading.unload

    def later(label: str, patience: float = 20) -> bool:
        started.folders.last("demo").write_text("1000.000000\n")
        started.fake.fire(LABEL)
        until(lambda: started.fake.job(LABEL)["minder"] is False)
        return unload(label, patience)

    until(lambda: started.fake.job(LABEL)["minder"] is False)
    monkeypatch.setattr(loading, "unload", later)
    started.build(Schedule().on().every_day().at("13:00").in_timezone("UTC"))

    assert started.results() == []
    assert started.is_armed


@pytest.mark.parametrize(
    "place", ["Documents/work", "Desktop", "Library/Mobile Documents/com~apple~CloudDocs"]
)
def test_a_workspace_that_agents_cannot_read_is_told(started: Mac, place: str) -> None:
    home = Path(os.environ["HOME"])
    (home / place).mkdir(parents=True)
    shut = LaunchdHost(Folders(home / place, started.folders.home))

    assert started.host.advice() == []
    [told] = shut.advice()
    assert str(home / place) in told
    assert "KEIJI_WORKSPACE" in told


def test_a_run_that_was_killed_is_told_from_one_that_goes_on(mac: Mac) -> None:
    mac.init()
    mac.build(function=WAITS)
    mac.host.start_system()
    run = mac.ask()
    entry = running.running_entry(mac.folders, "demo")
    assert entry

    os.kill(entry.pid, signal.SIGKILL)

    until(lambda: mac.host.failed() == ["demo"])
    until(lambda: mac.fake.job(LABEL)["pid"] is None)
    ending = mac.host.ending("demo")
    assert (ending.run, ending.by_signal, ending.status, ending.is_active) == (run, True, 9, False)


def test_a_deleted_task_leaves_nothing_and_its_name_can_be_used_again(started: Mac) -> None:
    started.host.set_enabled("demo", False)
    started.host.disarm(["demo"])
    for path in started.host.unit_files("demo"):
        path.unlink()
    started.host.forget("demo")

    assert started.host.installed() == []
    assert not started.fake.state["disabled"].get(LABEL)
    started.write(NOON)
    started.host.set_enabled("demo", True)
    assert started.host.arm(["demo"]) == []
    assert started.is_armed


def test_removing_the_system_removes_every_agent_and_override(started: Mac) -> None:
    started.host.set_enabled("demo", False)

    started.host.remove_system()

    assert started.fake.state["jobs"] == {}
    assert not any(started.fake.state["disabled"].values())
    assert [path.name for path in names.agent_folder().iterdir()] == []


def test_a_held_task_is_not_armed(started: Mac) -> None:
    started.folders.held("demo").write_text("")

    assert started.host.arm(["demo"]) == ["demo"]
    assert not started.is_armed


# a resident task


@pytest.fixture
def resident(mac: Mac) -> Mac:
    mac.init()
    mac.build(
        SECONDS, "print_ = print\n" + HELLO.replace("    def", "def").replace("        print", "    print")
    )
    mac.host.start_system()
    return mac


def test_a_resident_task_runs_once_it_is_armed_and_rests_when_it_is_disarmed(resident: Mac) -> None:
    until(lambda: len(resident.results()) >= 2)

    resident.host.disarm(["demo"])
    until(lambda: (resident.fake.job(LABEL) or {"pid": None})["pid"] is None)

    assert not resident.is_armed
    assert resident.host.arm(["demo"]) == []
    n = len(resident.results())
    until(lambda: len(resident.results()) > n)


def test_a_resident_task_is_asked_for_a_run_by_its_file_alone(mac: Mac) -> None:
    mac.init()
    mac.build(Schedule().run().every(3599).seconds().missed("skip"))
    mac.host.start_system()
    until(lambda: mac.fake.job(LABEL)["pid"])

    mac.ask()

    until(lambda: mac.results() == ["succeeded"])
    assert mac.fake.calls("kickstart") == []


def test_stopping_a_run_of_a_resident_task_leaves_its_process(mac: Mac) -> None:
    mac.init()
    mac.build(Schedule().run().every(3599).seconds().missed("skip"), WAITS)
    mac.host.start_system()
    until(lambda: mac.fake.job(LABEL)["pid"])
    process = mac.fake.job(LABEL)["pid"]
    run = mac.ask()
    files.write(mac.folders.stopping("demo"), f"{run}\n")

    mac.host.stop_run("demo")

    assert mac.results() == ["stopped"]
    assert mac.fake.job(LABEL)["pid"] == process


# races and faults


DEAF = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\ndef function():\n    time.sleep({})\n"


def test_an_agent_that_takes_its_time_to_go_is_waited_for(mac: Mac) -> None:
    """`bootout` returns at once, and until the process has gone `bootstrap` says 5."""
    mac.init()
    mac.build(function=DEAF.format(0.8))
    mac.host.start_system()
    mac.ask()

    loading.unload(LABEL)
    loading.load(mac.folders, LABEL)

    assert mac.is_armed
    assert any(call.startswith("print") for call in mac.fake.calls())


def test_an_agent_that_is_deaf_to_sigterm_is_killed_by_launchd_and_loaded_again(mac: Mac) -> None:
    mac.fake.set(patience=0.03)  # of the twenty seconds that the plist says
    mac.init()
    mac.build(function=DEAF.format(600))
    mac.host.start_system()
    mac.ask()
    entry = running.running_entry(mac.folders, "demo")
    assert entry

    loading.unload(LABEL)
    loading.load(mac.folders, LABEL)

    assert mac.fake.job(LABEL)
    assert not running.is_alive(entry)


def test_a_bootstrap_while_the_agent_is_leaving_waits_until_it_has_left(mac: Mac) -> None:
    mac.init()
    mac.build(function=DEAF.format(0.8))
    mac.host.start_system()
    mac.ask()
    target = f"gui/{os.getuid()}/{LABEL}"
    assert launchctl.call("bootout", target).returncode == 0
    assert launchctl.call("bootout", target).returncode == 36

    loading.load(mac.folders, LABEL)

    assert mac.is_armed
    assert len(mac.fake.calls("bootstrap")) > 4


def test_a_bootstrap_right_behind_a_bootout_is_tried_again(started: Mac) -> None:
    loading.unload(LABEL)
    started.fake.fault("bootstrap", 5, "Bootstrap failed: 5: Input/output error", times=2)

    loading.load(started.folders, LABEL)

    assert started.is_armed


@pytest.mark.parametrize("says", [5, 17, 37])
def test_an_agent_that_is_loaded_already_is_left_as_it_is(started: Mac, says: int) -> None:
    started.fake.set(loaded_says=says)

    loading.load(started.folders, LABEL)

    assert started.is_armed


@pytest.mark.parametrize("status", [3, 36, 112, 113, 125])
def test_a_bootout_that_somebody_was_quicker_with_has_not_failed(started: Mac, status: int) -> None:
    started.fake.fault("bootout", status, f"Boot-out failed: {status}")

    assert loading.unload(LABEL)
    assert started.fake.job(LABEL) is None


def test_unloading_what_is_not_loaded_is_no_failure(mac: Mac) -> None:
    assert not loading.unload(LABEL)


def test_an_agent_that_never_goes_is_given_up(started: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_MARGIN", 0.5)
    started.fake.fault("bootout", 36, "Boot-out failed: 36: Operation now in progress", times=50)

    with pytest.raises(HostFailed, match="still loaded"):
        loading.unload(LABEL, patience=0.5)


def test_the_plist_before_is_put_back_when_launchd_refuses_the_new_one(started: Mac) -> None:
    before = files.read(names.plist(LABEL))
    names.plist(LABEL).write_text("<plist>no more</plist>")
    loading.unload(LABEL)

    with pytest.raises(HostFailed, match="its plist can't be read"):
        loading.load(started.folders, LABEL)

    assert files.read(names.plist(LABEL)) == before
    assert started.is_armed


def test_the_first_refusal_is_told_when_the_plist_before_is_refused_too(started: Mac) -> None:
    names.plist(LABEL).write_text("<plist>no more</plist>")
    loading.unload(LABEL)
    started.fake.set(disabled={LABEL: True})

    with pytest.raises(HostFailed, match="switched off"):
        loading.load(started.folders, LABEL)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        *((64, "report this"), (112, "no such login session"), (119, "switched off")),
        *((122, "owner or mode"), (125, "no such login session"), (134, "session"), (161, "Login Items")),
    ],
)
def test_a_refusal_for_good_is_told_at_once(started: Mac, status: int, said: str) -> None:
    loading.unload(LABEL)
    started.fake.fault("bootstrap", status, "")

    with pytest.raises(HostFailed, match=said):
        loading.load(started.folders, LABEL)

    assert len(started.fake.calls("bootstrap")) == 4, "housekeeping, startup, demo, and this one"


def test_a_plist_that_others_may_write_is_told_from_the_other_reasons(started: Mac) -> None:
    loading.unload(LABEL)
    names.plist(LABEL).chmod(0o664)

    with pytest.raises(HostFailed, match="owner or mode"):
        loading.load(started.folders, LABEL)


def test_what_only_root_is_told_is_told_on(started: Mac) -> None:
    loading.unload(LABEL)
    started.fake.set(is_frank=True)
    names.plist(LABEL).chmod(0o664)

    with pytest.raises(HostFailed, match="122: Path had bad ownership/permissions"):
        loading.load(started.folders, LABEL)


def test_an_agent_for_another_kind_of_session_is_told_from_the_other_reasons(started: Mac) -> None:
    loading.unload(LABEL)
    path = names.plist(LABEL)
    path.write_text(path.read_text().replace("<string>Aqua</string>", ""))

    with pytest.raises(HostFailed, match="session of this kind"):
        loading.load(started.folders, LABEL)


def test_what_login_items_do_not_allow_is_not_taken_for_loaded(
    started: Mac, monkeypatch: pytest.MonkeyPatch
) -> None:
    """launchd takes it without a word and doesn't know it: nothing tells why."""
    monkeypatch.setattr(loading, "_SILENCE", 0.1)
    loading.unload(LABEL)
    started.fake.set(allowed=False)

    with pytest.raises(HostFailed, match="Login Items"):
        loading.load(started.folders, LABEL)


def test_a_launchctl_that_hangs_is_given_up(mac: Mac) -> None:
    mac.fake.fault("print", 0, late=1.0)

    with pytest.raises(HostFailed, match="did not answer"):
        launchctl.call("print", launchctl.domains()[0], timeout=0.3)


def test_a_launchctl_that_is_killed_is_no_answer(started: Mac) -> None:
    loading.unload(LABEL)
    started.fake.fault("bootstrap", -9)

    with pytest.raises(HostFailed, match="ended by signal 9"):
        loading.load(started.folders, LABEL)


def test_what_a_launchctl_did_before_it_was_killed_is_found_done(started: Mac) -> None:
    loading.unload(LABEL)
    started.fake.fault("bootstrap", -9, acts=True)
    with pytest.raises(HostFailed, match="ended by signal 9"):
        loading.load(started.folders, LABEL)

    assert started.host.arm(["demo"]) == []

    assert started.is_armed


@pytest.mark.parametrize("said", ["\x00\x7fELF\n\n}}}", "service: running, process 9", "{}"])
def test_a_print_that_makes_no_sense_is_made_up_for_by_list(mac: Mac, said: str) -> None:
    mac.init()
    mac.build(function=WAITS)
    mac.host.start_system()
    mac.ask()
    mac.fake.fault("print", 0, said)

    job = launchctl.find(LABEL)

    assert job
    assert (job.pid, job.state) == (mac.fake.job(LABEL)["pid"], "running")
    assert mac.fake.calls("list")[-1] == f"list {LABEL}"


def test_list_tells_how_a_process_ended_as_wait_has_it(started: Mac) -> None:
    names.plist(LABEL).write_text(
        names.plist(LABEL).read_text().replace(PYTHON, str(shutil.which("false")))  # status 1: 256 in `list`
    )
    loading.unload(LABEL)
    loading.load(started.folders, LABEL)
    until(lambda: started.fake.job(LABEL)["minder"] is False)
    started.fake.fault("print", 0, "no sense")

    job = launchctl.find(LABEL)

    assert job
    assert (job.exit_code, job.signal, job.pid) == (1, None, None)


def test_what_neither_print_nor_list_tells_of_can_not_be_told(started: Mac) -> None:
    started.fake.fault("print", 0, "no sense")
    started.fake.fault("list", 0, "none either")

    with pytest.raises(HostFailed, match="makes no sense"):
        launchctl.find(LABEL)


def test_what_list_does_not_know_may_be_in_the_other_domain(mac: Mac) -> None:
    """From the screen's session it tells nothing of agents beside it."""
    mac.fake.fault("print", 42, "who knows", times=2)

    with pytest.raises(HostFailed, match="print user/"):
        launchctl.find(LABEL)


def test_a_call_that_launchctl_finds_wrong_is_a_fault_of_keiji_s(started: Mac) -> None:
    started.fake.fault("print", 64, "Usage: launchctl print <domain-target>")

    with pytest.raises(HostFailed, match="called it wrongly: please report this"):
        launchctl.find(LABEL)


@pytest.mark.parametrize("missing", ["program", "folder", "log"])
def test_a_job_that_can_not_be_spawned_has_ex_config_for_a_status(started: Mac, missing: str) -> None:
    path = names.plist(LABEL)
    had = {"program": PYTHON, "folder": str(Path.home()), "log": "/dev/null"}[missing]
    text = path.read_text().replace(f"<string>{had}</string>", "<string>/nowhere/at/all</string>")
    assert text != path.read_text()
    path.write_text(text)
    loading.unload(LABEL)
    loading.load(started.folders, LABEL)
    until(lambda: started.fake.job(LABEL)["minder"] is False)

    job = launchctl.find(LABEL)

    assert job
    assert (job.exit_code, job.pid, job.starts) == (78, None, 1)


def test_no_agent_is_started_twice_within_its_throttle(mac: Mac) -> None:
    mac.fake.set(throttle=0.05)  # of ten seconds
    mac.init()
    mac.build()
    mac.host.start_system()
    until(lambda: mac.fake.job(LABEL)["minder"] is False)
    began = time.monotonic()
    mac.ask()
    until(lambda: len(mac.results()) == 1)
    mac.ask()
    until(lambda: len(mac.results()) == 2)

    assert time.monotonic() - began > 0.4


def test_a_request_that_meets_the_end_of_another_process_is_made_again(started: Mac) -> None:
    """launchd starts nothing while the process of a firing without a run is there."""
    until(lambda: started.fake.job(LABEL)["minder"] is False)
    started.fake.fault("kickstart", 0, " ")

    started.ask()

    until(lambda: started.results() == ["succeeded"])
    assert len(started.fake.calls("kickstart")) == 2


def test_a_machine_without_launchctl_says_so(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(HostFailed, match="is not on PATH"):
        mac.host.is_bus_answering()


def test_an_answer_that_nobody_knows_is_not_taken_for_absence(started: Mac) -> None:
    started.fake.fault("print", 42, "who knows")
    started.fake.fault("list", 1, "nobody")

    with pytest.raises(HostFailed, match="who knows"):
        launchctl.find(LABEL)


def test_without_a_session_at_the_screen_agents_go_where_the_person_is(mac: Mac) -> None:
    mac.fake.set(domains=["user"])
    mac.init()
    mac.build()

    mac.host.start_system()

    assert mac.is_armed
    assert f"user/{os.getuid()}/{LABEL}" in mac.fake.state["jobs"]
    assert "log in at the screen" in mac.host.advice()[0]


def test_agents_of_an_earlier_login_are_found_in_the_other_domain(mac: Mac) -> None:
    mac.fake.set(domains=["user"])
    mac.init()
    mac.build()
    mac.host.start_system()
    mac.fake.set(domains=["gui", "user"])

    assert mac.is_armed
    mac.host.stop_system()

    assert mac.fake.state["jobs"] == {}


@pytest.mark.parametrize("macos", [12, 15])
def test_overrides_are_read_as_older_and_newer_systems_print_them(started: Mac, macos: int) -> None:
    started.fake.set(macos=macos, disabled={"io.keiji.a": True, "io.keiji.b": False})

    assert launchctl.disabled(launchctl.domain()) == {"io.keiji.a": True, "io.keiji.b": False}


def test_only_lines_of_one_tab_are_the_job_s_own() -> None:
    text = (
        "gui/501/io.keiji.task.x = {\n\tstate = not running\n"
        "\targuments = {\n\t\tpid = 9\n}\nstate = mad\n\t}\n\truns = 6\n"
        "\tlast terminating signal = Terminated: 15\n\tendpoints = {\n\t\tstate = active\n\t}\n}\n"
    )

    job = launchctl.parse("io.keiji.task.x", "gui/501", text)

    assert (job.state, job.pid, job.starts, job.signal, job.exit_code) == ("not running", None, 6, 15, None)


def test_a_job_that_never_ran_has_no_exit_code() -> None:
    job = launchctl.parse("io.keiji.x", "gui/1", "\tlast exit code = (never exited)\n\tnew key in 2031 = 5\n")

    assert (job.exit_code, job.pid, job.state) == (None, None, "")


@pytest.mark.parametrize(
    ("domain", "label"), [("gui/501", ""), ("gui/", "io.keiji.x"), ("system", "io.keiji.x"), ("gui/501", "a")]
)
def test_no_target_can_be_more_than_one_of_keiji_s_agents(domain: str, label: str) -> None:
    with pytest.raises(ValueError):
        launchctl.target(domain, label)


def test_root_is_refused(mac: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEIJI_HOST")
    monkeypatch.setattr(os, "getuid", lambda: 0)

    with pytest.raises(HostFailed, match="without sudo"):
        mac.host.is_bus_answering()
    assert mac.fake.calls() == []


def test_an_agent_does_not_unload_itself(started: Mac, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPC_SERVICE_NAME", LABEL)

    with pytest.raises(HostFailed, match="can't unload itself"):
        loading.unload(LABEL)


# the bus


@pytest.fixture
def with_bus(mac: Mac) -> Mac:
    mac.folders.run.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (mac.folders.run / "bus.json").write_text(f'{{"port": {port}}}')
    mac.init()
    return mac


def test_the_bus_is_there_from_the_beginning_and_starts_on_demand(with_bus: Mac) -> None:
    port = with_bus.fake.job(names.BUS)["plist"]["Sockets"]["Bus"]["SockServiceName"]
    assert port in (with_bus.folders.run / "bus.json").read_text()
    assert with_bus.host.is_bus_answering()
    assert with_bus.fake.job(names.BUS)["runs"] == 0


def test_a_bus_that_is_to_stay_down_is_started_by_nobody(with_bus: Mac) -> None:
    assert with_bus.host.stop_bus(stay=True) is False

    assert not with_bus.host.is_bus_answering()
    with pytest.raises(BusUnavailable, match="`keiji system start`"):
        with_bus.host.start_bus()
    assert with_bus.host.allow_bus()
    assert with_bus.host.is_bus_answering()
    assert not with_bus.host.allow_bus()


def test_a_bus_that_launchd_has_not_loaded_is_loaded_by_a_start(with_bus: Mac) -> None:
    with_bus.fake.end()

    assert with_bus.host.allow_bus()

    assert with_bus.host.is_bus_answering()


def test_a_bus_that_alone_was_stopped_is_started_alone(with_bus: Mac) -> None:
    with_bus.host.start_system()
    with_bus.host.stop_bus(stay=True)

    with pytest.raises(BusUnavailable, match="`keiji system start --bus`"):
        with_bus.host.start_bus()
