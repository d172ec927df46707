"""Reading and writing the journal.

Lines are read by `journalctl -o json`. Matches name the person's own uid, because root's journalctl
sees everybody's. keiji's own lines carry ``USER_UNIT=`` of the task's service and of the target, so
that plain `journalctl --user-unit` shows them, too.
"""

from __future__ import annotations

import errno
import json
import os
import select
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from keiji.errors import HostFailed
from keiji.host import LogLine, Span

SOCKET = Path("/run/systemd/journal/socket")
OWN = "keiji"
_STDOUT = 1
_ERROR = 3  # syslog's err; anything as urgent is an ERROR line
_SLACK = timedelta(milliseconds=50)  # between what the run says of its time and what the journal says
_FIELDS = (
    "_SYSTEMD_INVOCATION_ID,KEIJI_TASK,MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,__REALTIME_TIMESTAMP,"
    "_SOURCE_REALTIME_TIMESTAMP"
)
_SERVICES = "io.keiji."  # how the identifiers of keiji's services begin


def write(message: str, priority: int, fields: Sequence[tuple[str, str]]) -> bool:
    """Send one entry by the native protocol; whether a journal took it.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    """
    import socket  # most commands write nothing

    entry = [("MESSAGE", message), ("PRIORITY", str(priority)), ("SYSLOG_IDENTIFIER", "keiji"), *fields]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"".join(_field(name, value) for name, value in entry), str(SOCKET))
        except OSError:
            return False
    return True


def own_uid() -> str:
    """Matches what this person's processes said."""
    return f"_UID={os.getuid()}"


def task_matches(slug: str) -> list[str]:
    """Which entries are the task's log: its output and keiji's own lines about it.

    By the identifier, too: a line of a process that is gone before the journal looks at it (a quick
    run on a busy machine) has neither unit nor invocation.
    """
    uid = own_uid()
    ways = (
        f"SYSLOG_IDENTIFIER=keiji-{slug}",
        f"_SYSTEMD_USER_UNIT=keiji-{slug}.service",
        f"KEIJI_TASK={slug}",
    )
    return [word for way in ways for word in (way, uid, "+")][:-1]


def read(matches: Sequence[str], lines: int | None) -> list[LogLine]:
    """The last `lines` entries, oldest first."""
    return _read(["-n", "all" if lines is None else str(lines), *matches])


def read_run(slug: str, span: Span, cursor: str = "") -> list[LogLine]:
    """The entries of one run, oldest first; those after `cursor` only, when it is given."""
    words = [f"--after-cursor={cursor}"] if cursor else []
    if span.began and not cursor:
        words.append(f"--since=@{int(span.began.timestamp()) - 1}")
    if span.ended:
        words.append(f"--until=@{int(span.ended.timestamp()) + 2}")
    return [line for line in _read([*words, *task_matches(slug)]) if _is_of(line, span)]


def follow(matches: Sequence[str], lines: int, span: Span | None = None) -> Iterator[LogLine]:
    """The last `lines` entries and then each as it comes, until the iterator is closed.

    Raises `BrokenPipeError` once nobody reads our stdout, which else only a line to print would tell.
    """
    command = [*_command(), "--follow", "-n", str(lines), *matches]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            for row in _rows(process.stdout.fileno()):
                line = _line(json.loads(row))
                if span is None or _is_of(line, span):
                    yield line
        finally:
            process.terminate()


def _rows(pipe: int) -> Iterator[bytes]:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    poll.register(_STDOUT, 0)  # its errors are told unasked
    rest = b""
    while True:
        if _STDOUT in dict(poll.poll()):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        part = os.read(pipe, 65536)
        if not part:
            return
        *rows, rest = (rest + part).split(b"\n")
        yield from rows


def _is_of(line: LogLine, span: Span) -> bool:
    """Whether a line is of that run; one that names no run is, if it came while the run went on."""
    if line.run or span.began is None:
        return line.run == span.run
    return line.at >= span.began - _SLACK and (span.ended is None or line.at <= span.ended + _SLACK)


def _read(words: Sequence[str]) -> list[LogLine]:
    done = subprocess.run([*_command(), "--no-pager", *words], capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise HostFailed(f"journalctl: {said[0] if said else 'it gave no reason'}")
    return [_line(json.loads(row)) for row in done.stdout.splitlines()]


def _command() -> list[str]:
    # --all: without it a message over 4 KiB reads as null
    return ["journalctl", "--quiet", "--all", "--output=json", f"--output-fields={_FIELDS}"]


def _line(entry: dict[str, Any]) -> LogLine:
    message = _text(entry.get("MESSAGE"))
    urgency = _text(entry.get("PRIORITY"))
    micros = int(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"])
    at = datetime.fromtimestamp(micros / 1e6, timezone.utc)
    level = "ERROR" if urgency.isdigit() and int(urgency) <= _ERROR else "INFO"
    # keiji's own lines about a task are of no run, whatever invocation the command itself was part of
    run = OWN if "KEIJI_TASK" in entry else entry.get("_SYSTEMD_INVOCATION_ID", "")
    is_event = message.startswith("event=") and _text(entry.get("SYSLOG_IDENTIFIER")).startswith(_SERVICES)
    return LogLine(at, level, message, entry.get("__CURSOR", ""), run, is_event)


def _text(value: Any) -> str:
    """A field's value: text, the bytes of what is not plain UTF-8, or several of these."""
    if isinstance(value, list) and value and not isinstance(value[0], int):
        value = value[0]
    return bytes(value).decode(errors="replace") if isinstance(value, list) else value or ""


def _field(name: str, value: str) -> bytes:
    data = value.encode()
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
