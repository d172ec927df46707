"""Whether logs are in the journal or in files, and that lines of both are found."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from standing_in import Programs

from keiji.folders import Folders
from keiji.host import Span
from keiji.systemd import host_logs, journal
from keiji.systemd.host_logs import HostLogs

RUN = "a" * 32
NOW = datetime.now(timezone.utc)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = Folders(tmp_path / "keiji", tmp_path / ".keiji")
    for folder in (folders.workspace, folders.run, folders.builds("ping")):
        folder.mkdir(parents=True)
    return folders


@pytest.fixture
def listening(
    tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], bytes]]:
    """A journal listens; what it was told."""
    monkeypatch.setattr(host_logs, "_PATIENCE", 0.0)
    monkeypatch.setattr(host_logs, "_BUSY_PATIENCE", 0.0)
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "journal"))
        receiver.settimeout(10)
        yield lambda: receiver.recv(65536)


@pytest.fixture
def deserted(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal listens, and journalctl fails."""
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "none")
    programs.answer("journalctl", 1, complaint="no such program")


def entry(message: str, seconds: float) -> str:
    at = int((NOW + timedelta(seconds=seconds)).timestamp() * 1e6)
    fields = {"MESSAGE": message, "PRIORITY": "6", "__REALTIME_TIMESTAMP": str(at), "__CURSOR": "s=1;i=2"}
    return json.dumps({**fields, "_SYSTEMD_INVOCATION_ID": RUN}) + "\n"


@pytest.mark.usefixtures("deserted")
def test_where_no_journal_listens_logs_are_files(folders: Folders) -> None:
    host_logs.decide(folders)
    logs = HostLogs(folders)
    logs.log("ping", "INFO", "armed")

    assert folders.filed.exists()
    assert logs.log_path("ping") == str(folders.task_log("ping"))
    assert [line.message for line in logs.task_log("ping", 10)] == ["armed"]
    assert [line.message for line in logs.system_log("scheduler", 10)] == ["ping: armed"]
    assert next(logs.follow_task_log("ping", 10)).message == "armed"
    assert next(logs.follow_system_log("scheduler", 10)).message == "ping: armed"


def test_a_journal_that_gives_back_what_it_is_told_is_used(
    folders: Folders, listening: Callable[[], bytes], programs: Programs
) -> None:
    programs.answer("journalctl", said=entry("keiji looks", 0))
    folders.filed.touch()
    host_logs.decide(folders)

    assert not folders.filed.exists()
    assert HostLogs(folders).log_path("ping") == "journal:keiji-ping.service"
    told = listening()
    (token,) = [line[12:] for line in told.decode().splitlines() if line.startswith("KEIJI_PROBE=")]
    assert programs.asked(f"KEIJI_PROBE={token}")


@pytest.mark.parametrize("answer", [(0, "", ""), (1, "", "No journal files were found")])
@pytest.mark.usefixtures("listening")
def test_a_journal_that_gives_nothing_back_is_not_used(
    folders: Folders, programs: Programs, answer: tuple[int, str, str]
) -> None:
    programs.answer("journalctl", *answer)
    host_logs.decide(folders)
    logs = HostLogs(folders)
    logs.log("ping", "INFO", "armed")

    assert logs.log_path("ping") == str(folders.task_log("ping"))
    assert [line.message for line in logs.task_log("ping", 10)] == ["armed"]


def test_what_no_journal_takes_goes_to_the_file(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "gone")
    HostLogs(folders).log("ping", "ERROR", "held")

    assert "held" in folders.task_log("ping").read_text()


@pytest.mark.usefixtures("listening")
def test_lines_of_journal_and_file_are_shown_in_their_order(folders: Folders, programs: Programs) -> None:
    logs = HostLogs(folders)
    logs.files.log("ping", "INFO", "from the file")
    programs.answer("journalctl", said=entry("before", -86400) + entry("after", 86400))

    assert [line.message for line in logs.task_log("ping", 10)] == ["before", "from the file", "after"]
    assert [line.message for line in logs.task_log("ping", 2)] == ["from the file", "after"]
    assert [line.message for line in logs.task_log("ping", None)] == ["before", "from the file", "after"]


@pytest.mark.usefixtures("listening")
def test_a_run_is_read_on_where_its_first_line_was(folders: Folders, programs: Programs) -> None:
    logs = HostLogs(folders)
    programs.answer("journalctl", said=entry("in the journal", 0))
    assert [line.message for line in logs.run_log_after("ping", Span(RUN), "")] == ["in the journal"]
    assert [line.message for line in logs.run_log_after("ping", Span(RUN), "s=1")] == ["in the journal"]

    programs.answer("journalctl")
    folders.task_log("ping").parent.mkdir(parents=True)
    said = f'time={NOW.isoformat(timespec="milliseconds")} level=INFO msg="in the file" run={RUN}\n'
    folders.task_log("ping").write_text(said)
    (line,) = logs.run_log_after("ping", Span(RUN), "")
    assert line.message == "in the file"
    assert logs.run_log_after("ping", Span(RUN), line.cursor) == []
