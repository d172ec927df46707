"""Reading and writing the journal.

Lines are read by `journalctl -o json`. Matches name the person's own uid, because root's journalctl
sees everybody's. keiji's own lines carry ``USER_UNIT=`` of the task's service and of the target, so
that plain `journalctl --user-unit` shows them, too.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from keiji.errors import HostFailed
from keiji.host import LogLine

_SOCKET = "/run/systemd/journal/socket"
_ERROR = 3  # syslog's err; anything as urgent is an ERROR line
_FIELDS = "MESSAGE,PRIORITY,__REALTIME_TIMESTAMP,_SOURCE_REALTIME_TIMESTAMP"


def write(message: str, priority: int, fields: Sequence[tuple[str, str]]) -> None:
    """Send one entry by the native protocol; where no journal listens it is dropped, as all output is.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    """
    entry = [("MESSAGE", message), ("PRIORITY", str(priority)), ("SYSLOG_IDENTIFIER", "keiji"), *fields]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"".join(_field(name, value) for name, value in entry), _SOCKET)
        except OSError:
            return


def task_matches(slug: str, run: str | None) -> list[str]:
    """Which entries are the task's log: its output and keiji's own lines about it."""
    uid = f"_UID={os.getuid()}"
    if run is not None:
        return [f"_SYSTEMD_INVOCATION_ID={run}", uid, "+", f"KEIJI_RUN={run}", uid]
    return [f"_SYSTEMD_USER_UNIT=keiji-{slug}.service", uid, "+", f"KEIJI_TASK={slug}", uid]


def read(matches: Sequence[str], lines: int | None) -> list[LogLine]:
    """The last `lines` entries, oldest first."""
    number = ["-n", "all" if lines is None else str(lines)]
    done = subprocess.run([*_command(), "--no-pager", *number, *matches], capture_output=True)
    if done.returncode != 0:
        raise HostFailed(f"journalctl: {done.stderr.decode(errors='replace').strip().splitlines()[:1]}")
    return [_line(json.loads(row)) for row in done.stdout.splitlines()]


def read_after(matches: Sequence[str], cursor: str) -> list[LogLine]:
    """What came after `cursor` (empty: everything)."""
    after = [f"--after-cursor={cursor}"] if cursor else []
    done = subprocess.run([*_command(), "--no-pager", *after, *matches], capture_output=True)
    return [_line(json.loads(row)) for row in done.stdout.splitlines()]


def follow(matches: Sequence[str], lines: int) -> Iterator[LogLine]:
    """The last `lines` entries and then each as it comes, until the iterator is closed."""
    command = [*_command(), "--follow", "-n", str(lines), *matches]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            for row in process.stdout:
                yield _line(json.loads(row))
        finally:
            process.terminate()


def _command() -> list[str]:
    # --all: without it a message over 4 KiB reads as null
    return ["journalctl", "--quiet", "--all", "--output=json", f"--output-fields={_FIELDS}"]


def _line(entry: dict[str, Any]) -> LogLine:
    message = entry.get("MESSAGE") or ""
    if isinstance(message, list):  # not UTF-8, or with control characters: journalctl gives the bytes
        message = bytes(message).decode(errors="replace")
    micros = int(entry.get("_SOURCE_REALTIME_TIMESTAMP") or entry["__REALTIME_TIMESTAMP"])
    at = datetime.fromtimestamp(micros / 1e6, timezone.utc)
    level = "ERROR" if int(entry.get("PRIORITY") or 6) <= _ERROR else "INFO"
    return LogLine(at, level, message, entry.get("__CURSOR", ""))


def _field(name: str, value: str) -> bytes:
    data = value.encode()
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
