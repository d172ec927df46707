"""Tries that are repeated, that time out or are killed, and functions that become another program."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runner_build import RUN_ID, WAIT, Build

# Fails as often as FAILURES says, one way or another; counts in a file, since each try is a process.
FAILS = """\
    import os, signal, sys, time
    count = 0
    def function():
        global count
        count += 1
        with open(os.environ["COUNTER"], "a") as file:
            file.write("x")
        number = os.path.getsize(os.environ["COUNTER"])
        print("try", number, count)
        if number <= int(os.environ["FAILURES"]):
            exec(os.environ["HOW"])
"""
STUBBORN = """\
    import time
    def function():
        while True:
            try:
                print("ready")
                while True: time.sleep(0.01)
            except BaseException:
                pass
"""

# In short sleeps: a signal that comes just before a long one begins is seen only when that ends.
WAITS = "import time\ndef function():\n    print('ready')\n    while True: time.sleep(0.01)\n"


def failing(home: Path, failures: int, how: str = "raise ValueError(number)", **others: object) -> Build:
    env = f"COUNTER={home}/counter\nFAILURES={failures}\nHOW='{how}'\n"
    return Build(home, FAILS, env=env, **{"TRIES": 3, **others})


def patient(build: Build, seconds: float = 0.2) -> Build:
    build.patch("keiji_runner_tries.py", "PATIENCE = 5.0", f"PATIENCE = {seconds}")
    return build


HOW = [
    ("raise ValueError(number)", "failed", "1", "ValueError: 3"),
    ("sys.exit(4)", "failed", "4", "the function ended the process with status 4"),
    ("os._exit(5)", "failed", "5", "the function ended the process with status 5"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "killed", None, "killed by signal 9"),
]


@pytest.mark.parametrize("how", [how[0] for how in HOW])
def test_a_try_that_fails_is_repeated_until_one_succeeds(tmp_path: Path, how: str) -> None:
    build = failing(tmp_path, 2, how)

    ended = build.run()

    assert (ended.status, ended.output) == (0, "try 1 1\ntry 2 1\ntry 3 1\n"), "each begins anew"
    assert (ended.result, ended.record["attempts"], ended.record["error"]) == ("succeeded", "3", "")
    assert "keiji: attempt 1 of 3 failed, next in 0 s" in ended.errors
    assert "keiji: attempt 2 of 3 failed, next in 0 s" in ended.errors
    assert build.files() == {f"done/{RUN_ID}"}


@pytest.mark.parametrize(("how", "result", "status", "error"), HOW)
def test_after_the_last_try_the_task_is_held(
    tmp_path: Path, how: str, result: str, status: str | None, error: str
) -> None:
    build = failing(tmp_path, 9, how)

    ended = build.run()

    assert (ended.result, ended.record.get("status"), ended.record["attempts"]) == (result, status, "3")
    assert ended.record.get("signal") == ("9" if result == "killed" else None)
    assert ended.record["error"].endswith(error)
    assert ended.status == (137 if result == "killed" else int(status or 1))
    assert build.latch()["result"] == result


def test_delays_grow(tmp_path: Path) -> None:
    errors = failing(tmp_path, 9, DELAY=0.01, BACKOFF=2.0).run().errors

    assert "attempt 1 of 3 failed, next in 0.01 s" in errors
    assert "attempt 2 of 3 failed, next in 0.02 s" in errors
    assert "attempt 3" not in errors


def test_a_try_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    build = Build(tmp_path, "def function():\n    print('ready')\n    while True: pass\n", TIMEOUT=0.5)

    ended = build.run()

    assert (ended.status, ended.result) == (1, "timed-out")
    assert ended.record["error"].startswith("timed out after 0.5 s\n")
    assert "line 3, in function" in ended.record["error"], "it says where it was"
    assert "keiji: timed out after 0.5 s" in ended.errors
    assert not {"status", "signal"} & set(ended.record)
    assert build.latch()["result"] == "timed-out"


def test_a_try_that_ignores_its_end_is_killed(tmp_path: Path) -> None:
    ended = patient(Build(tmp_path, STUBBORN, TIMEOUT=0.5)).run()

    assert (ended.status, ended.result) == (1, "timed-out")


def test_what_a_try_has_started_ends_with_it(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import subprocess, sys
        stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
        def function():
            child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
            child.stdout.readline()
            print(child.pid)
            child.wait()
        """,
        TIMEOUT=2.0,
    )

    ended = build.run()

    assert ended.result == "timed-out"
    assert not _lives(int(ended.output))


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_try_that_timed_out_is_repeated(tmp_path: Path) -> None:
    ended = failing(tmp_path, 1, "time.sleep(60)", TIMEOUT=2.0).run()

    assert (ended.result, ended.record["attempts"]) == ("succeeded", "2")
    assert "keiji: attempt 1 of 3 timed out, next in 0 s" in ended.errors


def test_a_try_in_time_is_left_alone(tmp_path: Path) -> None:
    build = failing(tmp_path, 0, TRIES=1, TIMEOUT=60.0)

    ended = build.run()

    assert (ended.status, ended.result, ended.errors) == (0, "succeeded", "")


def test_a_try_is_stopped_by_a_stop(tmp_path: Path) -> None:
    code = """\
        import time
        def function():
            try:
                print("ready")
                while True: time.sleep(0.01)
            finally:
                print("unwound")
        """
    build = Build(tmp_path, code, TRIES=3)

    ended = build.signalled()

    assert (ended.status, ended.output, ended.result) == (0, "unwound\n", "stopped")
    assert build.files() == {f"done/{RUN_ID}"}


def test_a_try_that_ignores_a_stop_is_killed(tmp_path: Path) -> None:
    build = patient(Build(tmp_path, STUBBORN, TIMEOUT=60.0))

    ended = build.signalled()

    assert (ended.status, ended.result, build.latch()) == (0, "stopped", {})


def test_a_stop_between_tries_is_a_stop(tmp_path: Path) -> None:
    build = failing(tmp_path, 9, DELAY=60.0)
    process = build.start()
    assert process.stderr is not None
    while not process.stderr.readline().startswith("keiji: attempt 1"):
        pass
    process.send_signal(signal.SIGTERM)

    ended = build.end(process)

    assert (ended.status, ended.result, ended.record["attempts"]) == (0, "stopped", "1")


def test_an_interrupt_ends_the_tries(tmp_path: Path) -> None:
    build = Build(tmp_path, WAITS, TRIES=3)

    ended = build.signalled(signal.SIGINT)

    assert (ended.status, ended.result, ended.record["attempts"]) == (130, "killed", "1")
    assert ended.record["signal"] == "2"


def test_a_try_that_cannot_begin_is_a_failure(tmp_path: Path) -> None:
    build = failing(tmp_path, 0)
    build.patch(
        "keiji_runner_tries.py", "reader, writer = posix.pipe()\n        previous", "1 / 0\n        previous"
    )

    ended = build.run()

    assert (ended.status, ended.result, ended.output) == (1, "failed", "")
    assert ended.record["error"].endswith("ZeroDivisionError: division by zero")
    assert build.latch()["id"] == RUN_ID


def test_an_interrupt_between_tries_ends_the_run(tmp_path: Path) -> None:
    build = failing(tmp_path, 9, DELAY=60.0)
    process = build.start()
    assert process.stderr is not None
    while not process.stderr.readline().startswith("keiji: attempt 1"):
        pass
    process.send_signal(signal.SIGINT)

    ended = build.end(process)

    assert (ended.status, ended.result, ended.record["signal"]) == (130, "killed", "2")


def test_exit_handlers_and_threads_belong_to_the_try(tmp_path: Path) -> None:
    code = """\
        import atexit, threading
        def function():
            atexit.register(print, "handler")
            threading.Timer(0.05, print, ["thread"]).start()
        """

    ended = Build(tmp_path, code, TRIES=2).run()

    assert (ended.output, ended.result) == ("thread\nhandler\n", "succeeded")


# os.exec*


@pytest.mark.parametrize("call", ["execv(SH, ARGS)", "execve(SH, ARGS, os.environ)", "execvp('sh', ARGS)"])
@pytest.mark.parametrize("status", [0, 3])
def test_a_function_that_becomes_a_program_ends_as_that_does(tmp_path: Path, call: str, status: int) -> None:
    code = f"""\
        import os
        SH, ARGS = "/bin/sh", ["sh", "-c", "echo $TASK_NAME; exit {status}"]
        def function():
            os.{call}
        """

    ended = Build(tmp_path, code).run()

    assert (ended.status, ended.output) == (status, "Demo\n")
    assert (ended.result, ended.record["status"]) == ("failed" if status else "succeeded", str(status))


def test_a_program_that_is_not_there_is_an_error_in_the_function(tmp_path: Path) -> None:
    code = """\
        import os
        def function():
            for path, arguments in (("/no/such", ["x"]), ("/bin/sh", [])):
                try:
                    os.execv(path, arguments)
                except (OSError, ValueError) as error:
                    print(type(error).__name__)
        """

    ended = Build(tmp_path, code).run()

    assert (ended.output, ended.result) == ("FileNotFoundError\nValueError\n", "succeeded")


def test_a_program_that_the_function_became_can_be_stopped(tmp_path: Path) -> None:
    code = "import os\ndef function():\n    os.execvp('sh', ['sh', '-c', 'echo ready; exec sleep 60'])\n"

    ended = Build(tmp_path, code).signalled()

    assert (ended.status, ended.result) == (0, "stopped")


def test_a_program_that_is_killed_was_killed(tmp_path: Path) -> None:
    code = "import os\ndef function():\n    os.execvp('sh', ['sh', '-c', 'kill -9 $$'])\n"

    ended = Build(tmp_path, code).run()

    assert (ended.status, ended.result, ended.record["signal"]) == (137, "killed", "9")


# main.py --run


def foreground(folder: Path, function: str, **constants: object) -> subprocess.Popen[str]:
    """What ``main.py --run`` does with a task's folder."""
    (folder / "function.py").write_text(function)
    (folder / ".env").write_text("A=b\n")
    constants = {
        "NAME": "Demo",
        "DESCRIPTION": "",
        "TRIES": 1,
        "DELAY": 0,
        "BACKOFF": 1,
        "TIMEOUT": 0,
    } | constants
    script = (
        "import sys, types; from keiji import runner\n"
        f"config = types.SimpleNamespace(ENV_FILE={str(folder / '.env')!r}, **{constants!r})\n"
        f"sys.exit(runner.rare('tries').run_foreground({str(folder)!r}, config))"
    )
    command = [sys.executable, "-u", "-c", script]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")


@pytest.mark.parametrize(
    ("body", "status", "shown"),
    [
        ("import os; print(os.environ['A'], os.environ['TASK_NAME'])", 0, "b Demo\n"),
        ("1 / 0", 1, ""),
        ("import sys; sys.exit(3)", 3, ""),
    ],
)
@pytest.mark.parametrize("tries", [1, 2])
def test_in_the_foreground_the_status_is_the_functions(
    tmp_path: Path, body: str, status: int, shown: str, tries: int
) -> None:
    process = foreground(tmp_path, f"def function():\n    {body}\n", TRIES=tries)

    output, errors = process.communicate(timeout=WAIT)

    assert (process.returncode, output) == (status, shown), errors
    assert errors.count("ZeroDivisionError: ") == (tries if body == "1 / 0" else 0)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_in_the_foreground_a_signal_ends_it(tmp_path: Path, number: int, status: int) -> None:
    process = foreground(tmp_path, WAITS)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)

    _, errors = process.communicate(timeout=WAIT)

    assert process.returncode == status
    assert "Traceback" not in errors
