"""Calls of `systemctl --user`: one cold question costs 6 ms there, ten times that over pydbus."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone

from keiji.errors import HostFailed

_SPAN = re.compile(r"([0-9.]+)(y|month|w|d|h|min|s|ms|us)\b")
_UNIT = {
    "y": 31557600.0,
    "month": 2629800.0,
    "w": 604800.0,
    "d": 86400.0,
    "h": 3600.0,
    "min": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
}
_BATCH = 500  # unit names a call: a command line is limited to 128 KiB a word list on small systems


def call(*words: str, check: bool = True, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run one `systemctl --user` call; raises `HostFailed` with systemd's own first line."""
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    try:
        done = subprocess.run(
            ["systemctl", "--user", *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise HostFailed("systemctl is not on PATH: keiji needs systemd on this machine") from None
    except subprocess.TimeoutExpired:
        raise HostFailed(f"systemctl --user {words[0]} did not answer within {timeout:.0f} s") from None
    if check and done.returncode != 0:
        raise HostFailed(_reason(words, done.stderr))
    return done


def each(verb: Sequence[str], names: Sequence[str], check: bool = True) -> None:
    """One call of `verb` for all `names`, or a few where there are very many."""
    for start in range(0, len(names), _BATCH):
        call(*verb, *names[start : start + _BATCH], check=check)


def show(names: Sequence[str], properties: Sequence[str]) -> Iterator[dict[str, str]]:
    """The properties of each unit, in the order of `names`; units that are not there answer, too."""
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        printed = call("show", "--property=" + ",".join(["Id", *properties]), "--", *batch).stdout
        for block in printed.strip().split("\n\n"):
            yield dict(row.split("=", 1) for row in block.splitlines() if "=" in row)


def moment(text: str) -> datetime | None:
    """A time as `systemctl show` prints it under TZ=UTC: ``Mon 2026-11-23 12:32:00 UTC``."""
    if not text.endswith(" UTC"):
        return None
    return datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=timezone.utc)


def span(text: str) -> timedelta | None:
    """A time span as systemd prints it: ``45min 43.753243s``; None for ``infinity`` and 0."""
    parts = _SPAN.findall(text)
    if not parts:
        return None
    return timedelta(seconds=sum(float(number) * _UNIT[unit] for number, unit in parts))


def _reason(words: Sequence[str], stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line]
    said = lines[0] if lines else "it gave no reason"
    if "Failed to connect to bus" in said:
        return (
            f"no systemd user manager answers ({said}): log in as the user, or run `loginctl enable-linger`"
        )
    return f"systemctl --user {' '.join(words[:3])}: {said}"
