"""The one format of log lines."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from keiji import logs
from keiji.host import LogLine

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


def say(capsys, *events, **fields):
    log = logs.service_log()
    for event in events:
        log(event, **fields)
    return capsys.readouterr().err.splitlines()


def test_a_service_says_an_event_and_its_fields(capsys, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)

    assert say(capsys, "directive", verb="stop", took_ms=12) == ["directive verb=stop took_ms=12"]


def test_fields_that_are_no_single_word_are_quoted(capsys, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)

    (line,) = say(capsys, "directive", task="", outcome='there is "no"\ntask a=b')

    assert line == 'directive task="" outcome="there is \\"no\\"\\ntask a=b"'


def test_a_services_lines_tell_the_journal_how_urgent_they_are(capsys, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")

    assert say(capsys, "started") == ["<6>started"]
    assert say(capsys, "not followed", level="error") == ["<3>not followed"]
