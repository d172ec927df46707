"""Output that would go nowhere goes to the task's log file, by the runner as a unit starts it."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from runner_build import PYTHON, RUN_ID, START, WAIT, Build

from keiji.folders import Folders
from keiji.host import LogLine
from keiji.logfiles import LogFiles

NOWHERE = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def started(build: Build, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    """Start it as a unit does whose output goes nowhere."""
    environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "INVOCATION_ID": RUN_ID}
    start = build.folder.parent / "current" / START
    command = [PYTHON, *build.options, str(start), *arguments]
    return subprocess.Popen(command, env=environ, **{**NOWHERE, **options})  # type: ignore[call-overload,no-any-return]


def run(tmp_path: Path, function: str, **constants: object) -> Build:
    build = Build(tmp_path, function, **constants)  # type: ignore[arg-type]
    started(build).wait(WAIT)
    return build


def log(build: Build) -> list[LogLine]:
    return LogFiles(Folders(build.home / "keiji", build.home)).task_log("demo", None)


def said(build: Build) -> list[str]:
    return [line.message for line in log(build)]


def lines_that_come(build: Build, wanted: Iterable[str]) -> list[str]:
    """What is said once all these lines are there."""
    give_up = time.monotonic() + WAIT
    while not set(wanted) <= set(said(build)) and time.monotonic() < give_up:
        time.sleep(0.01)
    return said(build)


def test_each_line_has_time_level_and_run(tmp_path: Path) -> None:
    (tmp_path / "settings.conf").write_text("TIME_ZONE=Africa/Nairobi\n")
    build = run(tmp_path, "def function():\n    print('Pinging…')\n")

    text = (tmp_path / "logs" / "tasks" / "demo" / "task.log").read_text()
    time_ = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+03:00"
    assert re.fullmatch(rf'time={time_} level=INFO msg="Pinging…" run={RUN_ID}\n', text)
    assert build.record()["result"] == "succeeded"


def test_the_children_s_output_is_there_and_stderr_is_an_error(tmp_path: Path) -> None:
    build = run(
        tmp_path,
        """
        import subprocess, sys
        def function():
            print("plain")
            print("loud", file=sys.stderr)
            subprocess.run(["sh", "-c", "echo child; echo 'child is loud' >&2"])
        """,
    )

    assert {(line.level, line.message) for line in log(build)} == {
        *(("INFO", "plain"), ("ERROR", "loud"), ("INFO", "child"), ("ERROR", "child is loud"))
    }


@pytest.mark.parametrize(
    ("speak", "messages"),
    [
        ("print('no end', end='')", ["no end"]),
        ("print('a\\n\\nb')", ["a", "", "b"]),
        (r"print('tab\t quote\" back\\ esc\x1b[31m')", ['tab\t quote" back\\ esc\x1b[31m']),
        (r"import os; os.write(1, b'\xff\x00bytes\n')", ["�\0bytes"]),
        (r"print('<3>grave'); print('<9>not'); print('<')", ["grave", "<9>not", "<"]),
        ("print('ä' * 40000)", ["ä" * 24576, "ä" * 15424]),
        ("print('x' + 'ä' * 40000, end='')", ["x" + "ä" * 24575, "ä" * 15425]),
    ],
)
def test_what_is_said_comes_back(tmp_path: Path, speak: str, messages: list[str]) -> None:
    assert said(run(tmp_path, f"def function():\n    {speak}\n")) == messages


@pytest.mark.parametrize(
    ("leave", "result", "last"),
    [
        ("import os; os._exit(0)", "succeeded", "last words"),
        ("import os; os._exit(3)", "failed", "keiji: the function ended the process with status 3"),
        ("import sys; sys.exit(2)", "failed", "keiji: the function ended the process with status 2"),
        ("1 / 0", "failed", "ZeroDivisionError: division by zero"),
        ("import os; os.execlp('echo', 'echo', 'of another program')", "succeeded", "of another program"),
    ],
)
def test_the_last_line_is_there_before_the_record_ends(
    tmp_path: Path, leave: str, result: str, last: str
) -> None:
    build = Build(tmp_path, f"def function():\n    print('last words', end='')\n    {leave}\n")
    process = started(build)
    while not build.record():  # not until the process has ended: until its record has
        time.sleep(0.001)

    assert {"last words", last} <= set(said(build))
    assert build.record()["result"] == result
    process.wait(WAIT)


def test_each_try_is_in_the_log(tmp_path: Path) -> None:
    function = "def function():\n    print('trying')\n    raise OSError('no')\n"
    build = run(tmp_path, function, TRIES=2, DELAY=0.01)

    assert said(build).count("trying") == 2
    assert "keiji: attempt 1 of 2 failed, next in 0.01 s" in said(build)
    assert {line.run for line in log(build)} == {RUN_ID}


def test_a_try_that_times_out_is_in_the_log(tmp_path: Path) -> None:
    function = "import time\ndef function():\n    print('slow')\n    time.sleep(60)\n"
    build = run(tmp_path, function, TIMEOUT=0.3)

    assert said(build) == ["slow", "keiji: timed out after 0.3 s"]


def test_a_stop_reaches_the_run_and_not_its_log(tmp_path: Path) -> None:
    """The manager sends SIGTERM to every process of the unit."""
    build = Build(
        tmp_path,
        """
        import time
        def function():
            try:
                print("ready")
                time.sleep(60)
            finally:
                print("cleaning up")
        """,
    )
    process = started(build, start_new_session=True)
    lines_that_come(build, ["ready"])
    for pid in with_pipes_of(process.pid):
        os.kill(pid, signal.SIGTERM)
    process.wait(WAIT)

    assert lines_that_come(build, ["cleaning up"]) == ["ready", "cleaning up"]
    assert build.record()["result"] == "stopped"


def with_pipes_of(pid: int) -> list[int]:
    """The processes that have one end of the pipe that is the process's stdout."""
    pipe = os.readlink(f"/proc/{pid}/fd/1")
    assert pipe.startswith("pipe:")
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) == pipe for link in (folder / "fd").iterdir()):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_what_a_killed_run_said_is_in_its_log_to_the_last_byte(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """
        import os, signal
        def function():
            print("before")
            print("and no end", end="", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
    )
    assert started(build).wait(WAIT) == -signal.SIGKILL

    assert lines_that_come(build, ["and no end"]) == ["before", "and no end"]


def test_a_child_that_outlives_the_function_is_heard_and_keeps_the_run_from_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "wait")
    build = run(
        tmp_path,
        f"""
        import subprocess
        def function():
            print("done")
            subprocess.Popen(["sh", "-c", "read line < {tmp_path}/wait; echo $line"])
        """,
    )
    assert build.record()["result"] == "succeeded"
    (tmp_path / "wait").write_text("later\n")

    assert lines_that_come(build, ["later"]) == ["done", "later"]


def test_a_function_that_waits_for_its_children_meets_its_own_only(tmp_path: Path) -> None:
    build = run(
        tmp_path,
        """
        import os
        def function():
            try:
                os.wait()
            except ChildProcessError:
                print("I have none")
        """,
    )

    assert said(build) == ["I have none"]


def test_a_function_that_closes_all_files_ends_its_run_all_the_same(tmp_path: Path) -> None:
    build = run(
        tmp_path,
        f"""
        import os
        def function():
            print("before")
            os.closerange(3, 1000)
            for _ in range(20):
                os.open("{tmp_path}/mine", os.O_RDWR | os.O_CREAT)
        """,
    )

    assert lines_that_come(build, ["before"]) == ["before"]
    assert build.record()["result"] == "succeeded"
    assert (tmp_path / "mine").read_bytes() == b""


def test_who_kills_what_writes_the_log_does_not_fail_the_run(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        f"""
        def function():
            print("before")
            open("{tmp_path}/wait").read()
            print("after")
        """,
    )
    os.mkfifo(tmp_path / "wait")
    process = started(build)
    lines_that_come(build, ["before"])
    others = {*with_pipes_of(process.pid)} - {process.pid}
    (writer,) = [pid for pid in others if parent_of(pid) in others]
    os.kill(writer, signal.SIGKILL)
    (tmp_path / "wait").write_text("")
    process.wait(WAIT)

    assert lines_that_come(build, ["after"]) == ["before", "after"]
    assert build.record()["result"] == "succeeded"


def test_a_flood_is_written_whole_and_rotated(tmp_path: Path) -> None:
    (tmp_path / "settings.conf").write_text("LOG_MAX_SIZE=200000\n")
    build = run(tmp_path, "def function():\n    for n in range(5000):\n        print(f'line {n}')\n")

    assert said(build) == [f"line {n}" for n in range(5000)]
    assert (tmp_path / "logs" / "tasks" / "demo" / "task.log.1").exists()


def test_where_the_log_can_not_be_made_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    build = run(tmp_path, "def function():\n    print('x' * 1_000_000)\n")

    assert build.record()["result"] == "succeeded"


def test_where_no_room_is_left_no_line_is_torn_and_the_run_goes_on(tmp_path: Path) -> None:
    function = "def function():\n    for n in range(9000):\n        print('line', n)\n"
    build = Build(tmp_path, function)
    room = (4000, 4000)
    started(build, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, room)).wait(WAIT)

    assert build.record()["result"] == "succeeded"
    assert 30 < len(said(build)) < 60
    assert said(build) == [f"line {n}" for n in range(len(said(build)))]


def test_what_a_full_disk_kept_out_is_counted_once_there_is_room(tmp_path: Path) -> None:
    """A pump may not write beyond a size: as much as there is room."""
    folder = tmp_path / "logs" / "tasks" / "demo"
    folder.parent.mkdir(parents=True)
    folder.write_text("in the way")
    build = Build(
        tmp_path,
        f"""
        import os
        def function():
            for n in range(20000):
                print("while it was full", n, "x" * 20)
            os.unlink("{folder}")
            print("after")
        """,
    )
    started(build).wait(WAIT)

    messages = lines_that_come(build, ["after"])
    (told,) = [message for message in messages if message.startswith("keiji:")]
    lost = int(told.split()[1])
    assert "lines are lost" in told
    assert len(messages) == 20000 - lost + 2
    assert build.record()["result"] == "succeeded"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_somebody_reads_is_left_to_them(tmp_path: Path, stream: str) -> None:
    function = "import sys\ndef function():\n    print('out')\n    print('err', file=sys.stderr)\n"
    build = Build(tmp_path, function)
    process = started(build, **{stream: subprocess.PIPE})
    read, errors = process.communicate(timeout=WAIT)

    assert (read or errors) == f"{stream[3:]}\n".encode()
    assert said(build) == ["err" if stream == "stdout" else "out"]
