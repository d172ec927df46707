"""The one format of log lines."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keiji import logs
from keiji.folders import Folders
from keiji.host import LogLine
from keiji.logfiles import LogFiles

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
AT = datetime(2026, 11, 23, 10, 31, 57, 164000, tzinfo=timezone.utc)


def test_a_line_reads_as_the_manual_shows_it():
    line = logs.format_line(LogLine(AT, "INFO", "Pinging…"), ZoneInfo("Africa/Nairobi"))

    assert line == 'time=2026-11-23T13:31:57.164+03:00 level=INFO msg="Pinging…"'


@given(st.text())
def test_any_message_stays_on_one_line_in_one_pair_of_quotes(message):
    quoted = logs.quote(message)

    assert len(quoted.splitlines()) == 1
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1].replace("\\\\", "").replace('\\"', "")


def test_an_export_holds_the_lines_and_is_private(tmp_path):
    path = logs.export(
        tmp_path / "tasks" / "ping" / "task.log", [LogLine(AT, "ERROR", "no")], ZoneInfo("UTC")
    )

    assert path.read_text() == 'time=2026-11-23T10:31:57.164+00:00 level=ERROR msg="no"\n'
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path / "keiji", tmp_path / ".keiji")


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


def say(capsys, folders, *events, **fields):
    log = logs.service_log(folders, "bus")
    for event in events:
        log(event, **fields)
    return capsys.readouterr().err.splitlines()


def test_a_service_says_an_event_and_its_fields(capsys, folders, terminal):
    (line,) = say(capsys, folders, "directive", verb="stop", took_ms=12)

    assert re.fullmatch(rf"time={TIME} level=INFO event=directive verb=stop took_ms=12", line)


def test_fields_that_are_no_single_word_are_quoted(capsys, folders, terminal):
    (line,) = say(capsys, folders, "directive", task="", outcome='there is "no"\ntask a=b')

    assert line.endswith(' event=directive task="" outcome="there is \\"no\\"\\ntask a=b"')


def test_the_journal_adds_time_and_level_to_a_service_s_lines(capsys, folders, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")

    assert say(capsys, folders, "started") == ["<6>event=started"]
    assert say(capsys, folders, "not followed", level="error") == ['<3>event="not followed"']


def test_an_event_is_printed_with_its_fields():
    line = LogLine(AT, "ERROR", "event=directive verb=stop", is_event=True)

    assert logs.format_line(line, ZoneInfo("UTC")) == (
        "time=2026-11-23T10:31:57.164+00:00 level=ERROR event=directive verb=stop"
    )


SERVICE = """
import os, sys
from keiji import logs
from keiji.folders import Folders
folders = Folders.of(os.environ)
logs.keep_output(folders, "bus")
log = logs.service_log(folders, "bus")
log("started", version="1")
print("a traceback, say", file=sys.stderr)
os.system("echo of a child")
"""


def test_what_a_service_says_is_kept_where_it_would_be_lost(folders, monkeypatch, terminal):
    folders.home.mkdir()
    monkeypatch.setenv("KEIJI_HOME", str(folders.home))
    monkeypatch.setenv("KEIJI_WORKSPACE", str(folders.workspace))
    null = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([sys.executable, "-c", SERVICE], check=True, **null)

    lines = set()
    while len(lines) < 3:
        lines = {(line.level, line.message) for line in LogFiles(folders).system_log("bus", None)}
    assert lines == {
        ("INFO", "event=started version=1"),
        ("ERROR", "a traceback, say"),
        ("INFO", "of a child"),
    }
