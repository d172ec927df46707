"""Failures, stops, the latch, and firings that are dropped."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from runner_build import RUN_ID, Build, Ended

from keiji import Schedule

HELLO = """\
    def function():
        print("Pinging…")
"""
WAITS = """\
    import time
    def function():
        try:
            print("ready")
            while True: time.sleep(0.01)
        finally:
            print("unwound")
"""
HOUR = 3600.0
DAY = 24 * HOUR
LONG = 36 * HOUR


# failures


def test_a_function_that_raises_fails_with_its_own_traceback(tmp_path: Path) -> None:
    build = Build(tmp_path, "def function():\n    {}['key']\n")

    ended = build.run()

    shown = [line for line in ended.errors.splitlines() if "^" not in line]
    source = f"{tmp_path}/exec/tasks/demo/abc/task/function.py"
    assert shown[:2] == ["Traceback (most recent call last):", f'  File "{source}", line 2, in function']
    assert shown[-1] == "KeyError: 'key'"
    assert len(shown) == 4
    assert ended.record["error"] == ended.errors.rstrip("\n")
    assert (ended.status, ended.result, ended.record["status"]) == (1, "failed", "1")


def test_code_that_cannot_be_imported_fails_likewise(tmp_path: Path) -> None:
    ended = Build(tmp_path, "import no_such_module\n").run()

    assert (ended.status, ended.result) == (1, "failed")
    assert ended.record["error"].endswith("No module named 'no_such_module'")
    assert "start.py" not in ended.errors


def test_a_module_of_the_function_cannot_hide_its_error(tmp_path: Path) -> None:
    build = Build(tmp_path, "import sys\ndef function():\n    sys.path.clear()\n    1 / 0\n")
    (build.folder / "task" / "traceback.py").write_text("1 / 0")

    assert build.run().record["error"].endswith("ZeroDivisionError: division by zero")


def test_an_excepthook_of_the_function_is_called(tmp_path: Path) -> None:
    code = """\
        import sys
        sys.excepthook = lambda kind, error, trace: print("told of", error)
        def function():
            raise ValueError("it")
        """

    ended = Build(tmp_path, code).run()

    assert (ended.output, ended.status) == ("told of it\n", 1)


@pytest.mark.parametrize("length", [10, 1990, 100_000])
def test_the_error_keeps_the_exception_and_is_not_long(tmp_path: Path, length: int) -> None:
    error = Build(tmp_path, f"def function():\n    raise ValueError('x' * {length})\n").run().record["error"]

    assert "ValueError: xxx" in error
    assert len(error) <= 2000


def test_the_record_takes_any_text(tmp_path: Path) -> None:
    code = "def function():\n    raise ValueError('a\\\\nb\\nend\\nc\\r\\x85\\u2028\\udc00')\n"

    ended = Build(tmp_path, code).run()

    assert ended.record["error"].endswith("ValueError: a\\nb\nend\nc\r\x85\u2028\\udc00")
    assert "\\udc00" in ended.errors


@pytest.mark.parametrize(
    ("code", "status"),
    [("None", 0), ("0", 0), ("False", 0), ("256", 0), ("3", 3), ("-1", 255), ("True", 1), ("'no net'", 1)],
)
def test_sys_exit_means_what_it_means_in_python(tmp_path: Path, code: str, status: int) -> None:
    ended = Build(tmp_path, f"import sys\ndef function():\n    sys.exit({code})\n").run()

    assert (ended.status, ended.record["status"]) == (status, str(status))
    assert ended.result == ("failed" if status else "succeeded")
    assert ("no net" in ended.errors) == (code == "'no net'")


@pytest.mark.parametrize("status", [0, 7])
def test_a_process_that_ends_itself_is_recorded(tmp_path: Path, status: int) -> None:
    build = Build(tmp_path, f"import os\ndef function():\n    os._exit(status={status})\n")

    ended = build.run()

    assert (ended.status, ended.record["status"]) == (status, str(status))
    assert ended.result == ("failed" if status else "succeeded")
    assert bool(build.latch()) == bool(status)


def test_a_process_that_ends_itself_is_recorded_where_site_has_imported_os(tmp_path: Path) -> None:
    build = Build(tmp_path, "import os\ndef function():\n    os._exit(7)\n")
    build.options = ["-I", "-u"]

    ended = build.run()

    assert (ended.status, ended.record["status"]) == (7, "7")


def test_a_function_that_is_interrupted_was_killed(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)

    ended = build.signalled(signal.SIGINT)

    assert (ended.status, ended.output) == (130, "unwound\n")
    assert (ended.result, ended.record["signal"]) == ("killed", "2")
    assert "status" not in ended.record
    assert build.latch()["result"] == "killed"


def test_a_run_that_is_killed_leaves_a_record_without_an_end(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)

    ended = build.signalled(signal.SIGKILL)

    assert (ended.status, ended.record) == (-9, {})
    assert build.files() == {"running/demo"}
    assert build.read("running/demo", tail="\n")["id"] == RUN_ID


# the latch


def test_a_failure_holds_the_task(tmp_path: Path) -> None:
    build = Build(tmp_path, "def function():\n    1 / 0\n")

    record = build.run().record

    latch = build.latch()
    assert (latch["id"], latch["result"], latch["error"]) == (RUN_ID, "failed", record["error"])
    assert float(record["began"]) <= float(latch["at"]) <= float(record["ended"])
    assert build.files() == {"held/demo", f"done/{RUN_ID}"}


def test_a_task_that_continues_on_failure_is_not_held(tmp_path: Path) -> None:
    build = Build(tmp_path, "def function():\n    1 / 0\n", HOLD=False)

    assert build.run().result == "failed"
    assert build.files() == {f"done/{RUN_ID}"}


def test_a_latch_that_cannot_be_written_is_left_to_the_handler_of_the_failed_unit(tmp_path: Path) -> None:
    build = Build(tmp_path, "def function():\n    1 / 0\n")
    (build.run_folder / "held").rmdir()

    ended = build.run()

    assert ended.status == 1
    assert "the task cannot be held" in ended.errors
    assert build.files() == {"running/demo"}, "what has no end blocks the next firing"


def test_on_a_full_disk_a_failure_holds_by_a_latch_without_words(tmp_path: Path) -> None:
    full = (
        "import resource\ndef function():\n    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n    1 / 0\n"
    )
    build = Build(tmp_path, full)

    ended = build.run()

    assert ended.status == 1
    assert "the task is held, but why cannot be written down" in ended.errors
    assert "this run cannot be recorded" in ended.errors
    assert build.files() == {"held/demo"}
    assert (build.run_folder / "held/demo").read_bytes() == b""


def test_elsewhere_than_on_linux_the_runner_looks_at_the_latch(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO, HOST="macos")
    build.write("held/demo")

    ended = build.run()

    assert (ended.status, ended.output, ended.record) == (0, "", {})


def test_elsewhere_than_on_linux_the_runner_delays_by_the_jitter(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO, HOST="macos", JITTER=0.001)

    assert build.run().result == "succeeded"


def test_an_end_during_the_jitter_lets_nothing_begin_and_leaves_word_of_it(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO, HOST="macos", JITTER=1e6)
    process = build.start()
    while not _sleeps_and_listens(process.pid):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)

    ended = build.end(process)

    assert (ended.status, ended.output, build.files()) == (0, "", {"launchd/waiting/demo"})


def _sleeps_and_listens(pid: int) -> bool:
    status = dict(line.split(":\t") for line in _status(pid).splitlines())
    return status["State"][0] == "S" and bool(int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


# stops


def test_a_stopped_run_is_unwound_and_no_failure(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)
    build.write("stopping/demo", RUN_ID)

    ended = build.signalled()

    assert (ended.status, ended.output, ended.errors) == (0, "unwound\n", "")
    assert (ended.result, ended.record["signal"], ended.record["error"]) == ("stopped", "15", "")
    assert build.files() == {f"done/{RUN_ID}"}, "the intent is used up, and nothing is held"


def test_a_stop_by_hand_is_a_stop(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)

    ended = build.signalled(PATH=build.command("systemctl", "echo running"))

    assert (ended.status, ended.result, build.latch()) == (0, "stopped", {})


def test_an_intent_to_stop_another_run_does_not_count(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)
    build.write("stopping/demo", "another")

    ended = build.signalled(PATH=build.command("systemctl", "echo stopping"))

    assert (ended.result, ended.record["error"]) == ("killed", "cut off by shutdown")
    assert (build.run_folder / "stopping/demo").exists()


def test_a_run_that_shutdown_cuts_off_was_killed_and_is_not_held(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)

    ended = build.signalled(PATH=build.command("systemctl", "echo stopping"))

    assert (ended.status, ended.result, ended.record["signal"]) == (0, "killed", "15")
    assert build.files() == {f"done/{RUN_ID}"}


def test_a_manager_that_does_not_answer_delays_no_stop(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS)
    build.patch("keiji_runner_rare.py", "timeout=2", "timeout=0.1")

    assert build.signalled(PATH=build.command("systemctl", "exec sleep 60")).result == "stopped"


@pytest.mark.parametrize(("limit", "answer"), [(0.000001, "none"), (1000.0, "timeout")])
def test_a_unit_whose_time_is_over_timed_out(tmp_path: Path, limit: float, answer: str) -> None:
    build = Build(tmp_path, WAITS, LIMIT=limit)

    ended = build.signalled(PATH=build.command("systemctl", f"echo {answer}"))

    assert (ended.status, ended.result) == (1, "timed-out")
    assert f"the run may take {limit:g} s in all" in ended.record["error"]
    assert 'function.py", line ' in ended.record["error"], "it says where the time was spent"
    assert build.latch()["result"] == "timed-out"


def test_a_deliberate_stop_at_the_last_moment_is_no_timeout(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS, LIMIT=0.000001)
    build.write("stopping/demo", "*")

    assert build.signalled().result == "stopped"


@pytest.mark.parametrize(
    ("intent", "manager", "result"),
    [(RUN_ID, "running", "stopped"), ("", "stopping", "killed"), ("", "running", "failed")],
)
def test_a_function_may_take_sigterm_itself(tmp_path: Path, intent: str, manager: str, result: str) -> None:
    build = Build(
        tmp_path,
        """\
        import signal, sys, time
        def function():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            print("ready")
            while True: time.sleep(0.01)
        """,
    )
    build.write("stopping/demo", intent)

    ended = build.signalled(PATH=build.command("systemctl", f"echo {manager}"))

    assert (ended.result, ended.status) == (result, 143 if result == "failed" else 0)
    assert bool(build.latch()) == (result == "failed")


@pytest.mark.parametrize("then", ["return", "raise ValueError", "sys.exit(4)", "os._exit(5)"])
def test_however_the_function_leaves_then_it_was_stopped(tmp_path: Path, then: str) -> None:
    build = Build(
        tmp_path,
        f"""\
        import os, sys, time
        def function():
            try:
                print("ready")
                while True: time.sleep(0.01)
            except BaseException:
                {then}
        """,
    )

    ended = build.signalled()

    assert (ended.status, ended.result, build.latch()) == (0, "stopped", {})


def test_a_second_signal_does_not_disturb_the_unwinding(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import os, signal, time
        def function():
            try:
                print("ready")
                while True: time.sleep(0.01)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                print("unwound")
        """,
    )

    ended = build.signalled()

    assert (ended.status, ended.output, ended.result) == (0, "unwound\n", "stopped")


def test_a_stop_that_comes_where_nothing_can_be_raised_is_not_lost(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import time
        class Thing:
            def __del__(self):
                print("ready")
                while True: time.sleep(0.01)
        def function():
            try:
                Thing()
                while True: time.sleep(0.01)
            finally:
                print("unwound")
        """,
    )

    ended = build.signalled()

    assert (ended.status, ended.output, ended.errors) == (0, "unwound\n", "")
    assert ended.result == "stopped"


def test_an_async_function_is_unwound_likewise(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import asyncio
        async def other():
            try:
                await asyncio.sleep(60)
            finally:
                print("other unwound")
        async def function():
            task = asyncio.ensure_future(other())
            await asyncio.sleep(0)
            print("ready")
            await task
        """,
    )

    ended = build.signalled()

    assert (ended.status, ended.output, ended.result) == (0, "other unwound\n", "stopped")


def test_a_run_that_waits_for_its_threads_can_be_stopped(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import atexit, threading, time
        def function():
            atexit.register(print, "handler")
            thread = threading.Thread(target=time.sleep, args=(60,))
            threading._register_atexit(print, "ready") # when the function has returned
            thread.start()
        """,
    )

    ended = build.signalled()

    assert (ended.status, ended.output, ended.result) == (0, "handler\n", "stopped")


def test_a_stop_while_threads_end_loses_no_file_of_the_function(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import os, threading, time
        def function():
            global file
            file = open(os.environ["FILE"], "w")
            file.write("all of it")
            threading._register_atexit(print, "ready")
            threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
        """,
        env=f"FILE={tmp_path}/file\n",
    )

    assert build.signalled().result == "stopped"
    assert (tmp_path / "file").read_text() == "all of it"


def test_a_timeout_of_the_unit_while_threads_end_still_fails(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import threading, time
        def function():
            threading._register_atexit(print, "ready")
            threading.Thread(target=time.sleep, args=(60,)).start()
        """,
        LIMIT=0.000001,
    )

    ended = build.signalled()

    assert (ended.status, ended.result) == (1, "timed-out")


def test_a_stop_before_the_function_has_begun_lets_it_not_begin(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO)
    build.env_file.unlink()
    os.mkfifo(build.env_file)  # the runner waits here for the other end
    process = build.start()
    while not (build.run_folder / "running" / "demo").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    while "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000" not in _status(process.pid):
        time.sleep(0.001)
    build.env_file.write_text("")

    ended = build.end(process)

    assert (ended.status, ended.output, ended.result) == (0, "", "stopped")


def test_a_process_that_the_function_forked_dies_of_sigterm(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import os, signal, time
        def function():
            child = os.fork()
            if child == 0:
                while True: time.sleep(0.01)
            os.kill(child, signal.SIGTERM)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
    )

    ended = build.run()

    assert (ended.output, ended.result) == ("-15\n", "succeeded")


# firings that are dropped


def firing(home: Path, guard: str, *, ago: float, last: float | str | None = None, **others: object) -> Build:
    """A period of 36 h whose last due time is `ago` seconds ago, in a unit that fires at any time."""
    due = time.time() - ago
    build = Build(home, HELLO, GUARD=guard, PERIOD=LONG, PHASE=due % LONG, **others)
    if last is not None:
        build.write("last/demo", last if isinstance(last, str) else f"{due + last:.6f}")
    return build


def due_of(build: Build) -> float:
    return float((build.run_folder / "last" / "demo").read_text())


def ran(ended: Ended) -> bool:
    assert (ended.status, ended.errors) == (0, "")
    return ended.result == "succeeded"


@pytest.mark.parametrize("last", [None, -LONG, "nonsense", ""])
@pytest.mark.parametrize("catch_up", [False, True])
def test_a_due_time_that_is_here_is_taken(tmp_path: Path, last: float | None, catch_up: bool) -> None:
    build = firing(tmp_path, "period", ago=5, last=last, CATCH_UP=catch_up)

    assert ran(build.run())
    assert abs(due_of(build) - (time.time() - 5)) < 60


def test_a_due_time_is_taken_once(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=5)

    assert ran(build.run())
    assert not ran(build.run(INVOCATION_ID="f" * 32))
    assert build.files() == {"last/demo", f"done/{RUN_ID}"}


def test_a_firing_between_due_times_leaves_no_trace(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=12 * HOUR, last=0, CATCH_UP=True)

    ended = build.run()

    assert (ended.status, ended.output, build.files()) == (0, "", {"last/demo"})


def test_a_missed_due_time_is_made_up_for_once(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=12 * HOUR, last=-LONG, CATCH_UP=True)

    assert ran(build.run())
    assert not ran(build.run(INVOCATION_ID="f" * 32))


def test_a_missed_due_time_that_is_to_be_skipped_is_recorded_once(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=12 * HOUR, last=-LONG)

    ended = build.run()

    assert (ended.result, ended.output[:27]) == ("skipped", "keiji: skipped: missed its ")
    assert not ran(build.run(INVOCATION_ID="f" * 32))
    assert build.files() == {"last/demo", f"done/{RUN_ID}"}


def test_without_a_memory_nothing_is_made_up_for(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=12 * HOUR, CATCH_UP=True)

    assert not ran(build.run())
    assert abs(due_of(build) - (time.time() - 12 * HOUR)) < 60


def test_a_clock_that_was_wrong_silences_no_task(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=5, last=100 * LONG)

    assert ran(build.run())


def test_a_due_time_that_comes_during_a_run_is_not_queued(tmp_path: Path) -> None:
    build = firing(tmp_path, "period", ago=12 * HOUR, last=-LONG, CATCH_UP=True)
    build.write("requested/demo")

    assert ran(build.run())
    assert not ran(build.run(INVOCATION_ID="f" * 32))


def test_a_manual_run_asks_no_guard(tmp_path: Path) -> None:
    build = firing(tmp_path, "skip", ago=12 * HOUR)
    build.write("requested/demo")

    assert ran(build.run())


@pytest.mark.parametrize(("ago", "expected"), [(5, True), (12 * HOUR, False)])
def test_a_firing_after_its_grace_is_skipped(tmp_path: Path, ago: float, expected: bool) -> None:
    build = firing(tmp_path, "skip", ago=ago)

    ended = build.run()

    assert ran(ended) is expected
    assert ended.result == ("succeeded" if expected else "skipped")


def test_a_record_that_is_out_of_its_place_for_a_moment_is_ended(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import atexit, os, threading, time
        record = os.environ["RECORD"]
        def put_back():
            time.sleep(0.05)
            os.rename(record + "~", record)
        def function():
            os.rename(record, record + "~")
            threading.Thread(target=put_back, daemon=True).start()
        """,
        env=f"RECORD={tmp_path}/run/running/demo\n",
    )

    ended = build.run()

    assert (ended.errors, ended.result) == ("", "succeeded")


def test_a_skipped_firing_is_a_whole_record(tmp_path: Path) -> None:
    build = firing(tmp_path, "skip", ago=1000)

    ended = build.run()

    assert ended.record["error"].startswith("missed its time by 100")
    assert ended.output == f"keiji: skipped: {ended.record['error']}\n"
    assert (ended.record["attempts"], ended.record["why"]) == ("0", "timer")
    assert "status" not in ended.record
    assert build.files() == {f"done/{RUN_ID}"}


def at(ago: timedelta, zone: str = "UTC") -> dict[str, object]:
    """Each day at the time that it was `ago`, as a build has it."""
    time = (datetime.now(timezone.utc) - ago).strftime("%H:%M")
    return Schedule().on().every_day().at(time).in_timezone(zone).to_dict()


@pytest.mark.parametrize(("ago", "expected"), [(0, True), (3, False)])
def test_calendar_forms_are_skipped_by_their_schedule(tmp_path: Path, ago: int, expected: bool) -> None:
    build = Build(tmp_path, HELLO, GUARD="skip", SCHEDULE=at(timedelta(hours=ago)), GRACE=120.0)

    assert ran(build.run()) is expected


def test_calendar_forms_can_be_guarded_like_periods(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO, GUARD="period", SCHEDULE=at(timedelta(hours=3)), CATCH_UP=True)
    build.write("last/demo", f"{time.time() - 2 * DAY}")

    assert ran(build.run())
    assert not ran(build.run(INVOCATION_ID="f" * 32))


def test_a_guard_hides_no_keiji_of_the_functions_own(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        "import keiji\ndef function():\n    print(keiji.__file__)\n",
        GUARD="skip",
        SCHEDULE=at(timedelta(0)),
        GRACE=120.0,
    )
    (build.folder / "shared" / "keiji").mkdir()
    own = build.folder / "shared" / "keiji" / "__init__.py"
    own.touch()

    assert build.run().output == f"{own}\n"


@pytest.mark.parametrize(
    ("since", "ago", "expected"),
    [
        (-10, timedelta(hours=3), False),  # no such time is due now
        (-10, timedelta(0), True),
        (-7200, timedelta(hours=3), True),  # no extra time: nothing is asked
    ],
)
def test_an_extra_time_that_new_zone_rules_do_not_know_is_dropped(
    tmp_path: Path, since: int, ago: timedelta, expected: bool
) -> None:
    build = Build(tmp_path, HELLO, SCHEDULE=at(ago), GRACE=120.0)
    now = int(time.time())

    ended = build.run("--extras", f"0-10,{now + since}-{now + since}")

    assert ran(ended) is expected
    assert ended.result == ("succeeded" if expected else "skipped")


@pytest.mark.parametrize("arguments", [["--check"], ["--extras"], ["--extras", "1-2", "more"]])
def test_unknown_arguments_are_refused(tmp_path: Path, arguments: list[str]) -> None:
    ended = Build(tmp_path, HELLO).run(*arguments)

    assert (ended.status, ended.record) == (2, {})
    assert "unknown arguments" in ended.errors


def test_a_task_at_boot_runs_once_a_boot(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO, KIND="Boot", GUARD="boot")
    build.write("last/demo", "an earlier boot")

    assert ran(build.run())
    assert not ran(build.run(INVOCATION_ID="f" * 32))
    assert build.files() == {"last/demo", f"done/{RUN_ID}"}
