"""Log files are read from their end, by run, and on from where one was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keiji import logreading
from keiji.folders import Folders
from keiji.host import LogLine, Span
from keiji.logfiles import LogFiles
from keiji.logreading import parse
from keiji.runner_files import LogFile, quote

AT = datetime(2026, 11, 23, 10, 31, 57, 164000, tzinfo=timezone.utc)
STAMP = "time=2026-11-23T13:31:57.164+03:00"


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "keiji", tmp_path / ".keiji")
    folders.builds("ping").mkdir(parents=True)
    folders.workspace.mkdir()
    return folders


@pytest.fixture
def logs(folders: Folders) -> LogFiles:
    return LogFiles(folders)


def say(folders: Folders, *messages: str, run: str = "", limit: int = 0) -> None:
    """What the runner writes for these messages."""
    tail = f" run={run}" if run else ""
    log = LogFile(str(folders.task_log("ping")), limit, str(folders.home))
    lines = [f"{STAMP} level=INFO msg={quote(message)}{tail}\n".encode() for message in messages]
    assert log.write(lines) == []
    log.close()


def messages(lines: list[LogLine]) -> list[str]:
    return [line.message for line in lines]


@given(st.text().filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_a_message_comes_back_as_it_was(text: str) -> None:
    line = parse(f"{STAMP} level=ERROR msg={quote(text)} run=ab12")

    assert line == LogLine(AT, "ERROR", text, run="ab12")


def test_an_event_is_known_as_one() -> None:
    line = parse(f'{STAMP} level=INFO event=directive task=ping run=ab12 outcome="a b"')

    assert (line.is_event, line.message) == (True, 'event=directive task=ping run=ab12 outcome="a b"')


@pytest.mark.parametrize(
    "row", ["", "half of a li", f'{STAMP} level=INFO msg="half', 'time=x level=INFO msg=""']
)
def test_what_is_no_line_is_shown_as_it_is(row: str) -> None:
    assert parse(row, AT) == LogLine(AT, "INFO", row)


def test_before_anything_was_said_there_is_nothing(logs: LogFiles) -> None:
    assert logs.task_log("ping", 10) == []
    assert logs.task_log("ping", None) == []
    assert logs.run_log_after("ping", Span("a"), "") == []


@pytest.mark.parametrize("limit", [0, 300])
@pytest.mark.parametrize("n", [0, 1, 7, 19, 20, 50])
def test_the_last_lines_are_read_across_old_files(
    folders: Folders, logs: LogFiles, n: int, limit: int
) -> None:
    said = [f"line {number}" for number in range(20)]
    say(folders, *said, limit=limit)

    assert messages(logs.task_log("ping", n)) == said[max(0, 20 - n) :]


def test_the_last_lines_are_found_in_a_file_of_many_blocks(folders: Folders, logs: LogFiles) -> None:
    said = [f"{number} " + "x" * 5000 for number in range(100)]
    say(folders, *said)

    assert messages(logs.task_log("ping", 40)) == said[60:]


def test_the_lines_of_one_run_are_that_run_s(folders: Folders, logs: LogFiles) -> None:
    for run in ("a1", "b2", "a1"):
        say(folders, f"of {run}", f"more of {run}", run=run)
    say(folders, "keiji's own")

    assert messages(logs.task_log("ping", None, Span("a1"))) == ["of a1", "more of a1"] * 2
    assert messages(logs.task_log("ping", 1, Span("b2"))) == ["more of b2"]


def test_one_reads_on_after_a_line_across_rotations(folders: Folders, logs: LogFiles) -> None:
    say(folders, "one", run="a1")
    (one,) = logs.run_log_after("ping", Span("a1"), "")
    say(folders, *(f"line {number}" for number in range(12)), run="a1", limit=300)

    assert messages(logs.run_log_after("ping", Span("a1"), one.cursor)) == [f"line {n}" for n in range(12)]


@pytest.mark.parametrize("limit", [0, 100_000])
def test_of_a_large_log_only_the_end_is_read_for_a_run_that_has_just_begun(
    folders: Folders, logs: LogFiles, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.task_log("ping")
    for minute in range(60):
        log = LogFile(str(path), limit, str(folders.home))
        line = f'time=2026-11-23T10:{minute:02}:00.000+00:00 level=INFO msg="{"x" * 100}" run=r{minute}\n'
        log.write([line.encode()] * 50)
        log.close()
    began = datetime(2026, 11, 23, 10, 58, 0, 500000, tzinfo=timezone.utc)
    parsed = []
    monkeypatch.setattr(logreading, "parse", lambda *words: parsed.append(1) or parse(*words))

    found = logs.run_log_after("ping", Span("r58", began), "")

    assert len(found) == 50
    assert len(parsed) < 800
    assert logs.run_log_after("ping", Span("r59", began), "") != []


def test_keiji_s_own_lines_are_of_no_run_and_in_the_scheduler_s_log_too(
    folders: Folders, logs: LogFiles
) -> None:
    folders.settings.write_text("TIME_ZONE=Africa/Nairobi\n")
    logs.log("ping", "ERROR", 'held: "no"')

    (line,) = logs.task_log("ping", None)
    assert (line.level, line.message, line.run) == ("ERROR", 'held: "no"', "")
    assert "+03:00 " in folders.task_log("ping").read_text()
    assert messages(logs.system_log("scheduler", None)) == ['ping: held: "no"']


def test_a_log_that_can_not_be_written_undoes_nothing(folders: Folders, logs: LogFiles) -> None:
    folders.logs.write_text("in the way")

    logs.log("ping", "INFO", "armed")


# following


@pytest.fixture
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logreading, "_LOOK", 1)


def following(logs: LogFiles, n: int = 100, span: Span | None = None) -> Iterator[str]:
    return (line.message for line in logs.follow_task_log("ping", n, span))


def take(lines: Iterator[str], n: int) -> list[str]:
    return [next(lines) for _ in range(n)]


@pytest.mark.usefixtures("look_often")
class TestFollowing:
    def test_the_last_lines_come_first_then_each_as_it_is_said(
        self, folders: Folders, logs: LogFiles
    ) -> None:
        say(folders, "one", "two", "three")
        lines = following(logs, 2)

        assert take(lines, 2) == ["two", "three"]
        say(folders, "four")
        assert take(lines, 1) == ["four"]

    def test_it_waits_for_a_log_that_is_not_there_yet(self, folders: Folders, logs: LogFiles) -> None:
        lines = following(logs)
        threading.Timer(0.05, lambda: say(folders, "first")).start()

        assert take(lines, 1) == ["first"]

    def test_only_the_run_s_lines_are_followed(self, folders: Folders, logs: LogFiles) -> None:
        lines = following(logs, span=Span("a1"))
        threading.Timer(0.05, lambda: (say(folders, "b", run="b2"), say(folders, "a", run="a1"))).start()

        assert take(lines, 1) == ["a"]

    def test_rotations_between_two_looks_lose_nothing(self, folders: Folders, logs: LogFiles) -> None:
        say(folders, "begin")
        lines = following(logs)
        take(lines, 1)
        said = [f"line {number}" for number in range(15)]
        say(folders, *said, limit=300)

        assert take(lines, 15) == said

    def test_a_log_that_is_cut_short_is_read_from_its_beginning(
        self, folders: Folders, logs: LogFiles
    ) -> None:
        say(folders, "one", "two")
        lines = following(logs)
        take(lines, 2)
        os.truncate(folders.task_log("ping"), 0)
        say(folders, "new")

        assert take(lines, 1) == ["new"]

    def test_a_log_that_is_deleted_is_followed_when_it_is_there_again(
        self, folders: Folders, logs: LogFiles
    ) -> None:
        say(folders, *(f"line {number}" for number in range(8)), limit=300)
        lines = following(logs)
        take(lines, 8)
        folders.task_log("ping").unlink()
        say(folders, "new")
        assert take(lines, 1) == ["new"]

        shutil.rmtree(folders.task_log("ping").parent)
        say(folders, "newer")
        assert take(lines, 1) == ["newer"]

    def test_nothing_is_lost_or_doubled_while_others_write_and_rotate(
        self, folders: Folders, logs: LogFiles
    ) -> None:
        say(folders, "begin")
        lines = following(logs)
        take(lines, 1)
        program = (
            "import sys; from keiji.runner_files import LogFile\n"
            f"log = LogFile({str(folders.task_log('ping'))!r}, 40000, {str(folders.home)!r})\n"
            "for n in range(1500):\n"
            f"    log.write([f'{STAMP} level=INFO msg=\"{{n}}\"\\n'.encode()])\n"
        )
        with subprocess.Popen([sys.executable, "-c", program]):
            assert take(lines, 1500) == [str(n) for n in range(1500)]
