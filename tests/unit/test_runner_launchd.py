"""What the runner makes up for where launchd starts it, really run."""

from __future__ import annotations

import binascii
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runner_build import PYTHON, RUN_ID, START, WAIT, Build
from test_runner_rare import HELLO, WAITS

from keiji.runfile import fields
from keiji.runner_start import write_runner

DAY = 86400.0
OTHER = "f" * 32
LOOP = {"LOOP": True, "PERIOD": 1.0, "PHASE": 0.25}
BOOT_ID = ["cat", "/proc/sys/kernel/random/boot_id"]
if sys.platform == "darwin":
    BOOT_ID = ["sysctl", "-n", "kern.bootsessionuuid"]


def build(tmp_path: Path, function: str = HELLO, **constants: object) -> Build:
    return Build(tmp_path, function, **{"HOST": "macos", **constants})


def leave_behind(made: Build, pid: int, boot: str | None = None) -> None:
    """The file of a run that has not ended."""
    boot = boot or subprocess.check_output(BOOT_ID, text=True).strip()
    head = f"keiji 1\nid={OTHER}\ntask=demo\nbuild=abc\npid={pid}\nboot={boot}\nwhy=timer\nbegan=1.000000\n"
    made.write("running/demo", head)


def gone() -> int:
    """The number of a process that is no more."""
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def rebuild(made: Build) -> None:
    """Another build is current from now on, whose function says so."""
    new = made.folder.with_name("new")
    made.folder.rename(new)
    (new / "task" / "function.py").write_text("def function():\n    print('renewed')\n")
    made.constants["BUILD"] = "new"
    made.folder = new
    write_runner(new, made.constants)
    made._compile()
    current = new.parent / "current"
    current.unlink()
    current.symlink_to("new")


# guards


def test_a_firing_whose_time_is_taken_is_dropped_without_a_word(tmp_path: Path) -> None:
    made = build(tmp_path, GUARD="due", PERIOD=DAY)
    made.write("last/demo", f"{time.time() // DAY * DAY:.6f}\n")

    ended = made.run()

    assert (ended.status, ended.output, ended.errors, ended.record) == (0, "", "", {})


def test_a_missed_time_is_made_up_for_once(tmp_path: Path) -> None:
    phase = (time.time() - 7200) % DAY
    made = build(tmp_path, GUARD="due", PERIOD=DAY, PHASE=phase, CATCH_UP=True)
    made.write("last/demo", "1000.000000\n")

    assert made.run().result == "succeeded"
    assert made.run(INVOCATION_ID=OTHER).record == {}


def test_a_missed_time_that_is_not_made_up_for_is_skipped_once(tmp_path: Path) -> None:
    made = build(tmp_path, GUARD="due", PERIOD=DAY, PHASE=(time.time() - 7200) % DAY)
    made.write("last/demo", "1000.000000\n")

    assert made.run().result == "skipped"
    assert made.run(INVOCATION_ID=OTHER).record == {}


def test_a_firing_that_comes_a_little_late_becomes_a_run(tmp_path: Path) -> None:
    made = build(tmp_path, GUARD="due", PERIOD=DAY, PHASE=(time.time() - 50) % DAY)
    made.write("last/demo", "1000.000000\n")

    assert made.run().result == "succeeded"


def test_an_agent_that_is_only_loaded_runs_nothing(tmp_path: Path) -> None:
    made = build(tmp_path, GUARD="due", PERIOD=DAY, PHASE=(time.time() - 10) % DAY, CATCH_UP=True)
    made.write("last/demo", f"{time.time():.6f}\n")

    assert made.run().record == {}


def test_a_run_begins_at_the_second_that_is_due(tmp_path: Path) -> None:
    due = time.time() + 1.5
    made = build(tmp_path, GUARD="due", PERIOD=DAY, PHASE=due % DAY, LEAD=30.0)

    assert float(made.run().record["began"]) >= due


def test_a_run_is_of_the_build_that_is_current_when_it_is_due(tmp_path: Path) -> None:
    due = time.time() + 3
    made = build(tmp_path, GUARD="due", PERIOD=DAY, PHASE=due % DAY, LEAD=30.0)
    made.write("last/demo", f"{time.time():.6f}\n")
    process = made.start()
    time.sleep(1.5)  # that it waits has no event to wait for

    rebuild(made)

    assert process.communicate(timeout=WAIT)[0] == "renewed\n"
    assert [record["build"] for record in records(made)] == ["new"]


@pytest.mark.parametrize("why", ["manual", "once"])
def test_a_run_that_was_asked_for_needs_no_due_time(tmp_path: Path, why: str) -> None:
    made = build(tmp_path, GUARD="due", PERIOD=DAY, LOOP=why == "once")
    made.write("last/demo", f"{time.time():.6f}\n")
    made.write("requested/demo")

    ended = made.run(*(["--once", "yes"] if why == "once" else []))

    assert (ended.result, ended.record["why"]) == ("succeeded", "manual")


def test_a_task_at_boot_runs_once_a_boot(tmp_path: Path) -> None:
    made = build(tmp_path, GUARD="boot", KIND="Boot")

    assert made.run().record["why"] == "boot"
    assert made.run(INVOCATION_ID=OTHER).record == {}


# runs that died


def test_a_run_that_is_gone_is_recorded_as_killed_and_the_task_held(tmp_path: Path) -> None:
    made = build(tmp_path)
    leave_behind(made, gone())

    ended = made.run()

    assert ended.record == {}
    assert made.record(OTHER)["result"] == "killed"
    assert made.latch()["id"] == OTHER
    assert not (made.run_folder / "running" / "demo").exists()


def test_a_run_that_another_boot_left_behind_holds_nothing(tmp_path: Path) -> None:
    made = build(tmp_path)
    leave_behind(made, os.getpid(), boot="another")

    ended = made.run()

    assert ended.result == "succeeded"
    assert (made.record(OTHER)["result"], made.latch()) == ("killed", {})


def test_the_number_of_a_dead_run_may_be_another_process_s(tmp_path: Path) -> None:
    made = build(tmp_path)
    leave_behind(made, os.getpid())

    made.run()

    assert made.record(OTHER)["result"] == "killed"


def test_a_run_in_progress_is_left_alone(tmp_path: Path) -> None:
    made = build(tmp_path, WAITS)
    first = made.start()
    assert first.stdout is not None
    assert first.stdout.readline() == "ready\n"

    second = made.run(INVOCATION_ID=OTHER)
    first.send_signal(signal.SIGTERM)

    assert (second.status, second.record) == (0, {})
    assert "another run of this task has not ended" in second.errors
    assert made.end(first).result == "killed"


def test_a_function_that_is_killed_is_recorded_at_once(tmp_path: Path) -> None:
    ended = build(tmp_path, "import os\ndef function():\n    os.kill(os.getpid(), 9)\n").run()

    assert (ended.result, ended.record["signal"]) == ("killed", "9")


# how a run is ended


def test_a_run_that_nobody_asked_to_stop_is_cut_off_by_shutdown_and_holds_nothing(tmp_path: Path) -> None:
    made = build(tmp_path, WAITS)

    ended = made.signalled()

    assert (ended.result, ended.record["error"]) == ("killed", "cut off by shutdown")
    assert made.latch() == {}


def test_a_run_that_somebody_asked_to_stop_is_stopped(tmp_path: Path) -> None:
    made = build(tmp_path, WAITS)
    made.write("stopping/demo", f"{RUN_ID}\n")

    assert made.signalled().result == "stopped"


def test_a_deaf_resident_run_that_the_session_ends_holds_nothing(tmp_path: Path) -> None:
    code = "import signal, time\ndef function():\n    print('ready', flush=True)\n    time.sleep(600)\n"
    made = build(tmp_path, code, **LOOP)
    made.patch("keiji_runner_launchd.py", "PATIENCE = 20.0", "PATIENCE = 2.2")
    process = made.start()
    assert lines(process, 1) == ["ready\n"]
    os.kill(int(made.read("running/demo", "\n")["pid"]), signal.SIGSTOP)

    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT) == 0
    (record,) = records(made)
    assert (record["result"], record["error"], made.latch()) == ("killed", "cut off by shutdown", {})


@pytest.mark.parametrize(("code", "result"), [("1 / 0", "failed"), ("raise SystemExit(3)", "failed")])
def test_launchd_hears_0_of_a_run_that_is_recorded(tmp_path: Path, code: str, result: str) -> None:
    ended = build(tmp_path, f"def function():\n    {code}\n").run()

    assert (ended.result, ended.status) == (result, 0)


def test_launchd_hears_of_a_failure_that_could_not_be_recorded(tmp_path: Path) -> None:
    made = build(tmp_path, "def function():\n    1 / 0\n")
    (made.run_folder / "running").rmdir()

    assert made.run().status == 1


# what a run leaves

LEAVES = """\
    import os, subprocess, sys, time
    def function():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print(os.getpid(), child.pid, flush=True)
        {}
    """


def is_there(pid: int) -> bool:
    """Whether the process is there, and no corpse that nobody has looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pids(process: object) -> list[int]:
    return [int(word) for word in lines(process, 1)[0].split()]


def test_a_function_whose_runner_was_killed_is_ended_before_another_run_begins(tmp_path: Path) -> None:
    made = build(tmp_path, LEAVES.format("time.sleep(600)"))
    process = made.start()
    left = pids(process)
    process.kill()
    process.wait(WAIT)
    assert all(map(is_there, left)), "they are in a group of their own"

    second = made.run(INVOCATION_ID=OTHER)

    assert not any(map(is_there, left))
    assert (made.record()["result"], second.record) == ("killed", {})


def test_a_group_whose_number_is_another_s_by_now_is_left_alone(tmp_path: Path) -> None:
    made = build(tmp_path)
    other = subprocess.Popen([PYTHON, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        leave_behind(made, gone())
        with (made.run_folder / "running" / "demo").open("a") as file:
            file.write(f"group={other.pid} {int(time.time()) - 3600}\n")

        made.run()

        assert made.record(OTHER)["result"] == "killed"
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_a_function_leaves_running_ends_with_the_run(tmp_path: Path) -> None:
    made = build(tmp_path, LEAVES.format("return"))
    process = made.start()
    _, child = pids(process)

    assert made.end(process).result == "succeeded"
    assert not is_there(child)


def test_a_resident_run_that_is_killed_leaves_no_function_behind(tmp_path: Path) -> None:
    made = build(tmp_path, LEAVES.format("time.sleep(600)"), **LOOP)
    process = made.start()
    left = pids(process)

    os.kill(int(made.read("running/demo", "\n")["pid"]), signal.SIGKILL)

    assert process.wait(WAIT) == 0
    assert not any(map(is_there, left))


# a period with seconds


def test_a_time_for_which_launchd_could_start_nothing_is_taken_by_the_process_before(tmp_path: Path) -> None:
    """launchd fires at the minute, two seconds before each time, and a run goes on then."""
    code = "def function():\n    print('Pinging…')\n"
    made = build(tmp_path, code, GUARD="due", PERIOD=3.0, PHASE=(time.time() + 1) % 3, LEAD=2.0)
    made.write("last/demo", f"{time.time():.6f}\n")
    process = made.start(INVOCATION_ID="")

    said = lines(process, 2)
    made.write("stopping/demo", "*\n")
    made.write("held/demo")
    process.communicate(timeout=WAIT)

    assert said == ["Pinging…\n"] * 2
    began = [float(record["began"]) for record in records(made)]
    assert round(began[1] - began[0]) == 3


# a jitter


def share(due: float) -> float:
    """How much of the jitter a due time gets in this boot."""
    boot = subprocess.check_output(BOOT_ID, text=True).strip()
    return binascii.crc32(f"{boot} demo {due:.0f}".encode()) / 2**32


def jittered(tmp_path: Path, function: str = HELLO, late: float = 1.0, **constants: object) -> Build:
    """A task that was due a second ago, and whose jitter is over in `late` seconds."""
    due = time.time() // 1 - 1
    jitter = (time.time() + late - due) / share(due)
    of_now = {"GUARD": "due", "PERIOD": DAY, "PHASE": due % DAY, "JITTER": jitter, **constants}
    made = build(tmp_path, function, **of_now)
    made.write("last/demo", "1000.000000\n")
    return made


def waits(made: Build) -> None:
    """Returns once a process waits."""
    deadline = time.monotonic() + WAIT
    while not (made.run_folder / "launchd" / "waiting" / "demo").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_begins_when_its_jitter_is_over(tmp_path: Path) -> None:
    turn = time.time() + 1
    made = jittered(tmp_path)

    ended = made.run()

    assert (ended.result, ended.record["why"]) == ("succeeded", "timer")
    assert float(ended.record["began"]) >= turn
    assert not (made.run_folder / "launchd" / "waiting" / "demo").exists()


def test_a_jitter_that_was_cut_off_is_waited_for_by_the_next_process(tmp_path: Path) -> None:
    made = jittered(tmp_path, late=2.0)
    turn = time.time() + 1.9
    process = made.start()
    waits(made)
    process.send_signal(signal.SIGTERM)
    assert made.end(process).record == {}

    ended = made.run()

    assert ended.result == "succeeded"
    assert float(ended.record["began"]) >= turn


def test_a_run_that_is_asked_for_during_a_jitter_begins_at_once_and_the_due_one_comes_too(
    tmp_path: Path,
) -> None:
    made = jittered(tmp_path, late=4.0)
    turn = time.time() + 3.9
    process = made.start(INVOCATION_ID="")
    waits(made)

    made.write("requested/demo")
    process.communicate(timeout=WAIT)

    first, second = records(made)
    assert (first["why"], second["why"]) == ("manual", "timer")
    assert float(first["began"]) < turn <= float(second["began"])


def test_a_task_at_boot_runs_also_where_one_is_asked_for_during_its_jitter(tmp_path: Path) -> None:
    made = build(tmp_path, GUARD="boot", KIND="Boot", JITTER=1e6)
    made.patch("keiji_runner_launchd.py", "NAP = 0.25", "NAP = 0.01")
    process = made.start(INVOCATION_ID="")
    waits(made)
    made.patch("start.py", "1000000.0", "0.01")  # by the process that waits again

    made.write("requested/demo")
    process.communicate(timeout=WAIT)

    assert [record["why"] for record in records(made)] == ["manual", "boot"]


def test_a_time_whose_jitter_ends_after_a_run_is_kept_by_its_process(tmp_path: Path) -> None:
    """launchd's firing for it met the run."""
    made = jittered(tmp_path, late=3.0)
    made.write("requested/demo")

    made.end(made.start(INVOCATION_ID=""))

    assert [record["why"] for record in records(made)] == ["manual", "timer"]


def test_a_time_whose_jitter_ends_during_a_run_is_dealt_with(tmp_path: Path) -> None:
    made = jittered(tmp_path, "import time\ndef function():\n    time.sleep(1.5)\n")
    made.write("requested/demo")

    made.end(made.start(INVOCATION_ID=""))

    assert [record["why"] for record in records(made)] == ["manual"]
    assert float(made.run_folder.joinpath("last/demo").read_text()) > 1000


def test_a_build_during_a_jitter_is_what_runs(tmp_path: Path) -> None:
    made = jittered(tmp_path, late=3.0)
    process = made.start()
    waits(made)

    rebuild(made)

    assert process.communicate(timeout=WAIT)[0] == "renewed\n"
    assert [record["build"] for record in records(made)] == ["new"]


@pytest.mark.parametrize("file", ["held/demo", "launchd/resting/demo"])
def test_who_is_held_or_rests_waits_no_longer(tmp_path: Path, file: str) -> None:
    made = jittered(tmp_path, late=1e5)
    process = made.start()
    waits(made)
    (made.run_folder / "launchd" / "resting").mkdir()

    made.write(file)

    ended = made.end(process)
    assert (ended.status, ended.record) == (0, {})
    assert not (made.run_folder / "launchd" / "waiting" / "demo").exists()


def test_a_resident_task_begins_each_run_when_its_jitter_is_over(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, **{**LOOP, "PERIOD": 2.0, "JITTER": 1.9, "PHASE": 0.0})
    process = made.start()
    lines(process, 2)
    process.send_signal(signal.SIGTERM)
    process.wait(WAIT)

    for record in records(made):
        began = float(record["began"])
        assert any(0 <= began - (due + 1.9 * share(due)) < 1 for due in (began // 2 * 2, began // 2 * 2 - 2))


def test_a_run_that_is_asked_for_leaves_a_resident_task_its_due_one(tmp_path: Path) -> None:
    due = time.time() // 1
    jitter = (time.time() + 2 - due) / share(due)
    schedule = {"PERIOD": 1e8, "PHASE": due % 1e8, "CATCH_UP": True, "GUARD": "due", "JITTER": jitter}
    made = build(tmp_path, HELLO, LOOP=True, **schedule)
    made.write("last/demo", "1000.000000\n")
    made.write("requested/demo")
    process = made.start()

    lines(process, 2)
    process.send_signal(signal.SIGTERM)
    process.wait(WAIT)

    assert [record["why"] for record in records(made)] == ["manual", "timer"]


def test_a_time_that_comes_while_a_resident_task_takes_another_build_is_run(tmp_path: Path) -> None:
    due = time.time() - 0.5
    made = build(tmp_path, HELLO, LOOP=True, PERIOD=3599.0, PHASE=due % 3599)

    process = made.start("--due", f"{due:.6f}")

    assert lines(process, 1) == ["Pinging…\n"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 0


def test_what_a_schedule_of_another_build_awaited_is_not_run(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, **{**LOOP, "PERIOD": 2.0, "PHASE": 0.0})
    due = time.time() // 2 * 2 - 1

    process = made.start("--due", f"{due:.6f}")

    lines(process, 1)
    process.send_signal(signal.SIGTERM)
    process.wait(WAIT)
    assert float(records(made)[0]["began"]) % 2 < 1


# the machine's zone


def moved(tmp_path: Path, zone: str) -> tuple[Build, str, Path]:
    made = build(tmp_path)
    link = tmp_path / "localtime"
    link.symlink_to(f"/var/db/timezone/zoneinfo/{zone}")
    made.patch("keiji_runner_launchd.py", 'LOCALTIME = "/etc/localtime"', f'LOCALTIME = "{link}"')
    (made.run_folder / "launchd").mkdir()
    asked = tmp_path / "asked"
    return made, made.command("launchctl", f'echo "$@" >> {asked}'), asked


def test_a_machine_that_has_moved_has_housekeeping_write_the_agents_anew_once(tmp_path: Path) -> None:
    made, path, asked = moved(tmp_path, "America/New_York")

    for run in (RUN_ID, OTHER):
        ended = made.run("--machine", "Europe/Berlin", PATH=path, INVOCATION_ID=run)
        assert ended.result == "succeeded"

    uid = os.getuid()
    wanted = [f"kickstart {domain}/{uid}/io.keiji.housekeeping" for domain in ("gui", "user")]
    assert asked.read_text().splitlines() == wanted


def test_a_machine_that_has_not_moved_has_nothing_to_tell(tmp_path: Path) -> None:
    made, path, asked = moved(tmp_path, "Europe/Berlin")

    assert made.run("--machine", "Europe/Berlin", PATH=path).result == "succeeded"
    assert not asked.exists()


# memory


def test_a_function_that_takes_too_much_memory_is_killed(tmp_path: Path) -> None:
    code = "import time\ndef function():\n    kept = bytearray(b'x') * (96 << 20)\n    time.sleep(600)\n"
    made = build(tmp_path, code, MEMORY=64 << 20)
    made.patch("keiji_runner_launchd.py", "LOOK = 1.0", "LOOK = 0.05")

    ended = made.run()

    assert ended.result == "killed"
    assert "more than the 64 MiB of memory" in ended.record["error"]
    assert made.latch()["result"] == "killed"


def test_memory_of_the_function_s_children_counts(tmp_path: Path) -> None:
    code = """\
        import subprocess, sys
        def function():
            code = "import time; kept = bytearray(b'x') * (96 << 20); time.sleep(600)"
            subprocess.run([sys.executable, "-c", code])
        """
    made = build(tmp_path, code, MEMORY=64 << 20)
    made.patch("keiji_runner_launchd.py", "LOOK = 1.0", "LOOK = 0.05")

    assert made.run().result == "killed"


def test_a_timeout_is_kept_while_memory_is_watched(tmp_path: Path) -> None:
    made = build(tmp_path, WAITS, MEMORY=1 << 30, TIMEOUT=0.3)

    assert made.run().result == "timed-out"


# a resident task


def records(made: Build) -> list[dict[str, str]]:
    found = [fields(path.read_text()) for path in (made.run_folder / "done").iterdir() if path.name[0] != "."]
    return sorted(found, key=lambda record: float(record["began"]))


def lines(process: object, n: int) -> list[str]:
    return [process.stdout.readline() for _ in range(n)]  # type: ignore[attr-defined]


def test_a_resident_task_runs_at_each_due_time(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, **LOOP)
    process = made.start()

    said = lines(process, 3)
    process.send_signal(signal.SIGTERM)
    status = process.wait(WAIT)

    assert (said, status) == (["Pinging…\n"] * 3, 0)
    began = [float(record["began"]) for record in records(made)]
    assert len({record["id"] for record in records(made)}) == len(began) >= 3
    assert len({(at - 0.25) // 1 for at in began}) == len(began)


def test_a_resident_task_that_fails_is_held_and_leaves(tmp_path: Path) -> None:
    made = build(tmp_path, "def function():\n    1 / 0\n", **LOOP)

    process = made.start()
    _, errors = process.communicate(timeout=WAIT)

    assert process.returncode == 0, "launchd leaves it down"
    assert "ZeroDivisionError" in errors
    assert (len(records(made)), made.latch()["result"]) == (1, "failed")


def test_usr1_ends_the_run_and_not_the_schedule(tmp_path: Path) -> None:
    made = build(tmp_path, WAITS, **LOOP)
    process = made.start()

    assert lines(process, 1) == ["ready\n"]
    made.write("stopping/demo", "*\n")
    process.send_signal(signal.SIGUSR1)
    assert lines(process, 2) == ["unwound\n", "ready\n"]
    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT) == 0
    assert [record["result"] for record in records(made)] == ["stopped", "killed"]
    assert made.latch() == {}, "the session has ended it, and nobody asked for that"


def test_a_run_of_a_resident_task_that_is_killed_is_recorded_and_held(tmp_path: Path) -> None:
    made = build(tmp_path, WAITS, **LOOP)
    process = made.start()
    assert lines(process, 1) == ["ready\n"]

    os.kill(int(made.read("running/demo", "\n")["pid"]), signal.SIGKILL)

    assert process.wait(WAIT) == 0
    (record,) = records(made)
    assert (record["result"], record["signal"]) == ("killed", "9")
    assert made.latch()["result"] == "killed"


def test_a_run_that_is_asked_for_need_not_wait_for_its_time(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, LOOP=True, PERIOD=3599.0, PHASE=(time.time() - 60) % 3599)
    process = made.start()
    made.write("requested/demo")

    assert lines(process, 1) == ["Pinging…\n"]
    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT) == 0
    assert [record["why"] for record in records(made)] == ["manual"]


def test_a_resident_task_goes_on_with_the_build_that_is_current(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, **LOOP)
    process = made.start()
    assert lines(process, 1) == ["Pinging…\n"]

    rebuild(made)
    said = lines(process, 2)
    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT) == 0
    assert "renewed\n" in said


def test_a_resident_task_is_left_by_a_delete(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, **LOOP)
    process = made.start()
    assert lines(process, 1) == ["Pinging…\n"]

    (made.folder.parent / "current").unlink()

    assert process.wait(WAIT) == 0


def test_each_run_of_a_resident_task_is_named_by_its_lines_in_the_log(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, **LOOP)
    start = made.folder.parent / "current" / START
    with open(os.devnull, "w") as null:
        process = subprocess.Popen([PYTHON, *made.options, str(start)], stdout=null, stderr=null, env={})
    log = tmp_path / "logs" / "tasks" / "demo" / "task.log"
    deadline = time.monotonic() + WAIT
    while not log.exists() or log.read_text().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT) == 0
    named = {line.rpartition(" run=")[2] for line in log.read_text().splitlines()}
    assert named <= {record["id"] for record in records(made)}
    assert len(named) >= 2


def test_a_stop_while_nothing_runs_ends_the_resident_task(tmp_path: Path) -> None:
    made = build(tmp_path, HELLO, LOOP=True, PERIOD=3599.0, PHASE=(time.time() - 60) % 3599)
    made.write("requested/demo")
    process = made.start()
    assert lines(process, 1) == ["Pinging…\n"]

    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT) == 0
    assert RUN_ID not in {record["id"] for record in records(made)}
