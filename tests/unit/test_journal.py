"""Entries of the journal become lines, and lines belong to runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from keiji.host import LogLine, Span
from keiji.systemd import journal

BEGAN = datetime(2026, 11, 23, 10, tzinfo=timezone.utc)
ENDED = BEGAN + timedelta(seconds=5)
MOMENT = "1795428000123456"  # microseconds: 2026-11-23T10:00:00.123456Z
RUN = "a" * 32


def entry(**fields: object) -> dict[str, Any]:
    """An entry as journalctl prints it."""
    return {"MESSAGE": "Pinging…", "PRIORITY": "6", "__REALTIME_TIMESTAMP": MOMENT, **fields}


def line(**fields: object) -> LogLine:
    return journal._line(entry(**fields))


# entries


def test_an_entry_is_a_line() -> None:
    said = line(__CURSOR="s=1;i=2", _SYSTEMD_INVOCATION_ID=RUN)

    at = BEGAN + timedelta(microseconds=123456)
    assert said == LogLine(at, "INFO", "Pinging…", "s=1;i=2", RUN)


def test_the_time_is_when_it_was_said_not_when_the_journal_got_it() -> None:
    assert line(_SOURCE_REALTIME_TIMESTAMP="1795428000000000").at == BEGAN


@pytest.mark.parametrize(
    ("priority", "level"),
    [("0", "ERROR"), ("3", "ERROR"), ("4", "INFO"), ("7", "INFO"), (None, "INFO"), ("", "INFO")],
)
def test_what_is_as_urgent_as_an_error_is_one(priority: str | None, level: str) -> None:
    assert line(PRIORITY=priority).level == level


def test_bytes_that_are_no_text_are_shown_as_far_as_they_are() -> None:
    assert line(MESSAGE=[*b"\xffabc\x1b"]).message == "\ufffdabc\x1b"


@pytest.mark.parametrize("message", [None, ""])
def test_an_entry_without_words_is_an_empty_line(message: str | None) -> None:
    assert line(MESSAGE=message).message == ""


@pytest.mark.parametrize("odd", [{"MESSAGE": ["a", "b"]}, {"PRIORITY": ["3", "6"]}, {"PRIORITY": "loud"}])
def test_a_field_that_a_program_sent_twice_or_wrong_does_not_hide_the_log(odd: dict[str, object]) -> None:
    """Any program may write to the journal by its native protocol."""
    assert line(**odd)


def test_keiji_s_own_lines_are_of_no_run() -> None:
    """The command that writes them may be part of some unit itself."""
    assert line(KEIJI_TASK="ping", _SYSTEMD_INVOCATION_ID=RUN).run == journal.OWN


# of which run

SPAN = Span(RUN, BEGAN, ENDED)


def said(run: str = "", after: float = 1.0) -> LogLine:
    return LogLine(BEGAN + timedelta(seconds=after), "INFO", "x", run=run)


@pytest.mark.parametrize(
    ("line", "belongs"),
    [
        (said(RUN), True),
        (said(RUN, after=9), True),  # a child that outlived its run
        (said("b" * 32), False),
        (said(journal.OWN), False),
        (said(after=1), True),  # of a process that was gone before the journal looked
        (said(after=-1), False),
        (said(after=6), False),
        (said(after=-0.01), True),
        (said(after=5.01), True),
    ],
)
def test_a_line_that_names_no_run_is_of_the_one_that_went_on(line: LogLine, belongs: bool) -> None:
    assert journal._is_of(line, SPAN) is belongs


def test_a_run_that_goes_on_has_no_last_line() -> None:
    assert journal._is_of(said(after=3600), Span(RUN, BEGAN))


def test_a_run_whose_time_is_not_known_has_only_the_lines_that_name_it() -> None:
    assert not journal._is_of(said(), Span(RUN))
    assert journal._is_of(said(RUN), Span(RUN))


# fields


def test_a_plain_field_is_one_line() -> None:
    assert journal._field("MESSAGE", "a=b — 計") == "MESSAGE=a=b — 計\n".encode()


def test_a_field_of_several_lines_goes_by_its_length() -> None:
    """Else its second line would be a field of its own."""
    assert journal._field("MESSAGE", "a\nKEIJI_TASK=x") == (
        b"MESSAGE\n" + (14).to_bytes(8, "little") + b"a\nKEIJI_TASK=x\n"
    )


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bytes]]:
    """What a journal would receive."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "journal"))
        receiver.settimeout(10)
        monkeypatch.setattr(journal, "SOCKET", tmp_path / "journal")
        yield lambda: receiver.recv(65536)


def test_an_entry_reaches_the_journal_with_its_fields(listener: Callable[[], bytes]) -> None:
    assert journal.write("armed", 6, [("KEIJI_TASK", "ping")])

    assert listener() == b"MESSAGE=armed\nPRIORITY=6\nSYSLOG_IDENTIFIER=keiji\nKEIJI_TASK=ping\n"


def test_it_is_told_that_no_journal_took_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "none")

    assert not journal.write("armed", 6, [])


def test_a_task_s_log_is_the_person_s_own() -> None:
    """root's journalctl sees everybody's."""
    ways = " ".join(journal.task_matches("ping")).split(" + ")

    assert ways == [
        f"{way} _UID={os.getuid()}"
        for way in (
            "SYSLOG_IDENTIFIER=keiji-ping",
            "_SYSTEMD_USER_UNIT=keiji-ping.service",
            "KEIJI_TASK=ping",
        )
    ]
