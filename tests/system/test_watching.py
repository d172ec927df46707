"""`keiji task list --watch`, in a real terminal, told by the real bus."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from terminal import Terminal

UNIT = "io.keiji.Bus1.service"
WATCH = ("task", "list", "--watch")
SLOW = "import time\n\n\ndef function():\n    time.sleep(300)\n"
SELDOM = 'Schedule().on().month_day(1).at("03:00")'
on_both = pytest.mark.parametrize("transport", ["dbus", "loopback"], indirect=True)
STATE = re.compile(r"^(\S+) +(created|built|armed|queued|running|disabled|held) ", re.MULTILINE)


@pytest.fixture
def started(keiji):
    keiji("init")
    keiji("system", "start")
    keiji.write_task("t", SLOW, SELDOM)
    keiji("task", "build", "t")
    return keiji


@pytest.fixture
def terminal(started) -> Iterator[Callable[..., Terminal]]:
    """`terminal(rows, columns)`: one in which the table is watched."""
    terminals: list[Terminal] = []

    def start(*size: int) -> Terminal:
        terminals.append(Terminal([sys.executable, "-m", "keiji", *WATCH], started.environment, *size))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.end()


class Reader:
    """A program whose lines are read as they come."""

    def __init__(self, keiji, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keiji", *arguments],
            env=keiji.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.removesuffix("\n"))

    def end(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Its exit status after that signal, and what it said on stderr."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        self._reader.join()
        return self.process.wait(), said


@pytest.fixture
def read(started) -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def start(*arguments: str) -> Reader:
        readers.append(Reader(started, *WATCH, *arguments))
        return readers[-1]

    yield start
    for reader in readers:
        reader.process.kill()
        reader.process.wait()


def states(terminal: Terminal) -> dict[str, str]:
    """What the screen says of each task."""
    return dict(STATE.findall(terminal.text()))


def switches(pid: int) -> int:
    """How often the threads of a process were woken."""
    status = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status"))
    return sum(map(int, re.findall(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.MULTILINE)))


@on_both
def test_a_run_is_seen_to_begin_and_to_end(started, terminal, wait_for, systemctl):
    watched = terminal()
    wait_for(lambda: states(watched) == {"t": "armed"}, "the table")

    systemctl("start", "--no-block", "keiji-t.service")
    wait_for(lambda: states(watched) == {"t": "running"}, "the run")
    started("task", "stop", "t")
    wait_for(lambda: states(watched) == {"t": "armed"} and "stopped in" in watched.text(), "its end")


@on_both
def test_a_task_is_seen_to_be_made_changed_and_deleted(started, terminal, wait_for):
    watched = terminal()
    started("task", "create", "other", "--desc", "a test's")
    wait_for(lambda: states(watched).get("other") == "created", "the new task")

    for words, state in (("disable", "disabled"), ("enable", "armed"), ("delete", "created")):
        started("task", words, "t")
        wait_for(lambda state=state: states(watched)["t"] == state, state)


@on_both
def test_a_build_with_another_schedule_is_seen(started, terminal, wait_for):
    watched = terminal()
    wait_for(lambda: "month_day:1,time:03:00" in watched.text(), "the table")

    schedule = started.workspace / "tasks" / "t" / "schedule.py"
    schedule.write_text(schedule.read_text().replace("03:00", "04:00"))
    started("task", "build", "t")
    wait_for(lambda: "month_day:1,time:04:00" in watched.text(), "the new schedule")


def test_the_table_is_the_lists(started, terminal, wait_for):
    watched = terminal()
    wait_for(lambda: states(watched), "the table")

    head, *table = watched.text().splitlines()

    assert re.fullmatch(r"As of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", head)
    assert table == started("task", "list").stdout.splitlines()


@on_both
def test_ctrl_c_leaves_with_130_and_the_prompt_on_a_line_of_its_own(terminal, wait_for):
    watched = terminal()
    wait_for(lambda: states(watched), "the table")

    watched.type("\x03")

    assert watched.status() == 130
    # The terminal's echo goes when a drawing was just under way.
    assert watched.text().splitlines()[3:] in (["^C"], [])
    assert watched.screen.column == 0


def test_ctrl_c_at_any_time_ends_it_without_a_word(terminal, wait_for):
    for milliseconds in range(0, 400, 40):
        watched = terminal()
        maps = Path(f"/proc/{watched.pid}/maps")
        wait_for(lambda maps=maps: "/gi/" in maps.read_text(), "the first import of many")
        time.sleep(milliseconds / 1000)
        watched.type("\x03")

        # Interrupted while it executes a string, as dataclasses do, Python ends by the signal at last:
        # for a shell that is 130, too.
        assert watched.status() in (130, -signal.SIGINT), watched.text()
        assert "Traceback" not in watched.text()
        assert "keiji:" not in watched.text()


def test_nothing_is_done_while_nothing_happens(terminal, wait_for):
    watched = terminal()
    wait_for(lambda: states(watched), "the table")

    def is_quiet():
        before = switches(watched.pid)
        time.sleep(2)
        return switches(watched.pid) == before

    wait_for(is_quiet, "two seconds without a turn of any thread")


def test_a_table_longer_than_the_terminal_is_cut_and_a_larger_one_shows_more(started, terminal, wait_for):
    for number in range(6):
        started("task", "create", f"n{number}", "--desc", "a test's")
    watched = terminal(6, 30)
    wait_for(lambda: "more" in watched.text(), "the table")

    lines = watched.text().splitlines()
    assert (len(lines), lines[-1]) == (5, "... 5 more")
    assert all(len(line) <= 30 for line in lines)

    watched.resize(30, 30)
    wait_for(lambda: len(states(watched)) == 7, "the whole table")
    assert "more" not in watched.text()


def test_a_service_that_was_killed_is_started_again_and_listened_to(started, terminal, wait_for, systemctl):
    watched = terminal()
    wait_for(lambda: states(watched), "the table")
    pid = systemctl("show", "-p", "MainPID", "--value", UNIT)

    os.kill(int(pid), signal.SIGKILL)
    (started.home / "run" / "held" / "t").touch()  # nobody may be there to tell of it
    wait_for(lambda: states(watched) == {"t": "held"}, "the hold")
    (started.home / "run" / "held" / "t").unlink()
    wait_for(lambda: states(watched) == {"t": "armed"}, "the end of the hold")


def test_a_bus_that_is_stopped_on_purpose_ends_it_with_a_line_that_says_so(started, read, wait_for):
    reader = read()
    wait_for(lambda: reader.lines, "the table")

    started("system", "stop", "--bus")

    assert reader.wait() == (1, "keiji: the bus is stopped: `keiji system start --bus` starts it\n")
    assert started(*WATCH, status=1).stdout == ""


def test_an_uninstall_ends_it_and_leaves_no_service_behind(started, read, wait_for, systemctl):
    reader = read()
    wait_for(lambda: reader.lines, "the table")

    started("system", "uninstall", "--yes")

    assert reader.wait()[0] == 1
    assert systemctl("show", "-p", "ActiveState", "--value", UNIT) == "inactive"


def test_without_a_terminal_the_tables_are_parted_by_an_empty_line(started, read, wait_for):
    reader = read()
    wait_for(lambda: len(reader.lines) == 3, "the table")

    started("task", "disable", "t")
    wait_for(lambda: any(" disabled " in line for line in reader.lines), "the change")

    assert reader.end() == (130, "")
    tables = [table.splitlines() for table in "\n".join(reader.lines).split("\n\n")]
    assert len(tables) > 1
    assert {len(table) for table in tables} == {3}
    assert "\x1b" not in "".join(reader.lines)


@on_both
def test_json_is_a_line_for_each_task_that_is_another_than_before(started, read, wait_for):
    started.write_task("other", SLOW, SELDOM)
    started("task", "build", "other")
    reader = read("--json")
    wait_for(lambda: len(reader.lines) == 2, "both tasks")

    started("task", "disable", "t")
    wait_for(lambda: json.loads(reader.lines[-1])["state"] == "disabled", "the change")
    started("task", "delete", "t")
    wait_for(lambda: json.loads(reader.lines[-1])["state"] == "deleted", "the deletion")

    assert reader.end() == (130, "")
    said = [json.loads(line) for line in reader.lines]
    assert [entry["slug"] for entry in said[:2]] == ["other", "t"]
    assert {entry["slug"] for entry in said[2:]} == {"t"}


@on_both
def test_it_ends_when_its_reader_leaves_though_nothing_happens(started):
    command = f"'{sys.executable}' -m keiji task list --watch | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=started.environment, capture_output=True, text=True, timeout=60
    )

    assert done.stdout.splitlines()[1:] == ["141"]
    assert done.stderr == ""
