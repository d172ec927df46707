"""Calls of `systemctl --user`: one cold question costs 6 ms there, ten times that over pydbus."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeVar

from keiji.errors import HostFailed

_T = TypeVar("_T")
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
_FEW = 8  # unit names for which a pattern each is cheaper than to hear of all units
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


def show(name: str, properties: Sequence[str]) -> dict[str, str]:
    """The properties of one unit, which is loaded if it is not; one that is not there answers, too."""
    return _properties(call("show", _wanted(properties), "--", name).stdout)


# To name a unit loads it, and a timer's loads the target, and with it all the others: with the system
# stopped, asking 100 timers in turn took half a minute. A pattern is held against what is loaded.


def show_loaded(names: Sequence[str], every: str, properties: Sequence[str]) -> dict[str, dict[str, str]]:
    """The properties of those units that are loaded; `every` is a pattern that matches all of `names`."""
    if not names:
        return {}
    printed = call("show", _wanted(["Id", *properties]), "--", *_patterns(names, every)).stdout
    blocks = [_properties(block) for block in printed.split("\n\n") if block.strip()]
    return _of({block["Id"]: block for block in blocks}, names)


def states(names: Sequence[str], every: str) -> dict[str, tuple[str, str]]:
    """``ActiveState`` and ``SubState`` of those units that are loaded: one question for all."""
    if not names:
        return {}
    listing = ("list-units", "--all", "--full", "--plain", "--no-legend", "--")
    rows = [row.split(None, 4) for row in call(*listing, *_patterns(names, every)).stdout.splitlines()]
    return _of({row[0]: (row[2], row[3]) for row in rows if len(row) >= 4}, names)


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


def _patterns(names: Sequence[str], every: str) -> list[str]:
    """One that matches all, or for each name one that matches nothing else: ``keiji-a.time[r]``."""
    return [every] if len(names) > _FEW else [f"{name[:-1]}[{name[-1]}]" for name in names]


def _of(found: dict[str, _T], names: Sequence[str]) -> dict[str, _T]:
    return {name: found[name] for name in names if name in found}


def _wanted(properties: Sequence[str]) -> str:
    return "--property=" + ",".join(properties)


def _properties(printed: str) -> dict[str, str]:
    return dict(row.split("=", 1) for row in printed.splitlines() if "=" in row)


def _reason(words: Sequence[str], stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line]
    said = lines[0] if lines else "it gave no reason"
    if "Failed to connect to bus" in said:
        return (
            f"no systemd user manager answers ({said}): log in as the user, or run `loginctl enable-linger`"
        )
    return f"systemctl --user {' '.join(words[:3])}: {said}"
