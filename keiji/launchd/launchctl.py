"""Calls of `launchctl`, and what is made of its answers.

What `print` says is no interface, by its own manual: it is read leniently. A label is never left out of a
target: to boot out a whole domain ends the person's session.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from keiji import platforms
from keiji.errors import HostFailed
from keiji.launchd import names

GONE = frozenset({3, 113})  # no such process, no such service
NO_DOMAIN = frozenset({112, 125})
LOADED = frozenset({17, 37})
UNDER_WAY = 36
USAGE = 64
CATCH_ALL = 5  # what anybody but root is told: loaded, leaving, switched off, or refused for good
REASONS = {
    USAGE: "keiji has called it wrongly: please report this",
    **dict.fromkeys(NO_DOMAIN, "there is no such login session"),
    119: "it is switched off",
    122: "its plist has a wrong owner or mode",
    134: "it may not be loaded in a session of this kind",
    161: "it is switched off in System Settings > General > Login Items",
}
_OWN = re.compile(r"\t([^\t={}][^={}]*) = ?([^{]*)")
_PAIR = re.compile(r'^\s*"(PID|LastExitStatus)" = (-?\d+);$', re.MULTILINE)
_OVERRIDE = re.compile(r'\s*"([^"]+)" => (\w+)')


@dataclass(frozen=True)
class Job:
    """A loaded agent. `exit_code` and `signal` are of its last process, None where launchd doesn't say."""

    label: str
    domain: str
    state: str = ""
    pid: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    starts: int | None = None

    @property
    def target(self) -> str:
        return target(self.domain, self.label)


def call(*words: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
    """Run `launchctl`, whatever its exit status; raises `HostFailed` when that can't be."""
    uid()
    try:
        return subprocess.run(
            ["launchctl", *words],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise HostFailed('launchctl is not on PATH: `export PATH="$PATH:/bin"`') from None
    except subprocess.TimeoutExpired:
        raise HostFailed(f"launchctl {' '.join(words[:2])} did not answer within {timeout:.0f} s") from None


def uid() -> int:
    """Whose agents they are; raises `HostFailed` for root, who has none."""
    number = os.getuid()
    # Who acts as macOS on another system is a test's, and may be root there.
    if (number == 0 or os.geteuid() != number) and not platforms.is_acted():
        raise HostFailed("agents of launchd belong to a person: run keiji as yourself, without sudo")
    return number


def target(domain: str, label: str) -> str:
    """``gui/501/io.keiji.task.ping``; `ValueError` unless both are whole."""
    if not re.fullmatch(r"(gui|user)/\d+", domain):
        raise ValueError(f"{domain!r} is no domain of a person's")
    return f"{domain}/{names.checked(label)}"


def domains() -> tuple[str, str]:
    """Where agents may be: of the person at the screen, and of one who is only logged in otherwise."""
    return f"gui/{uid()}", f"user/{uid()}"


def domain() -> str:
    """Where agents are to be loaded now: with the screen's session if there is one."""
    gui, user = domains()
    return gui if call("print", gui).returncode == 0 else user


def find(label: str) -> Job | None:
    """The loaded agent of that label, in whichever domain; raises `HostFailed` when it can't be told."""
    for place in domains():
        asked = call("print", target(place, label))
        if asked.returncode in GONE | NO_DOMAIN:
            continue
        found = parse(label, place, asked.stdout) if asked.returncode == 0 else None
        if found is None or not found.state:  # its words are no interface, and may change
            found = _listed_as(label, place, asked)
        if found:
            return found
    return None


def loaded() -> dict[str, int | None]:
    """keiji's loaded agents: label → process, None while it has none.

    `list` tells of the caller's domain only, so the other one is looked through, too.
    """
    found: dict[str, int | None] = {}
    asked = call("list")
    if asked.returncode == 0:
        found.update(_listed(asked.stdout))
    for place in domains():
        shown = call("print", place)
        if shown.returncode == 0:
            for label, pid in _services(shown.stdout):
                found.setdefault(label, pid)
    return found


def disabled(place: str) -> dict[str, bool]:
    """What the override store says: label → whether it is switched off. What it doesn't name is not."""
    asked = call("print-disabled", place)
    found = (_OVERRIDE.match(line) for line in asked.stdout.splitlines())
    return {match[1]: match[2] in ("disabled", "true") for match in found if match}


def parse(label: str, place: str, text: str) -> Job:
    """What `print` says of a job: only lines of one tab are its own."""
    said: dict[str, str] = {}
    for line in text.splitlines():
        match = _OWN.fullmatch(line)
        if match:
            said.setdefault(match[1].strip(), match[2].strip())
    return Job(
        label,
        place,
        said.get("state", ""),
        _number(said.get("pid")),
        _number(said.get("last exit code")),
        _number(said.get("last terminating signal", "").rpartition(":")[2]),
        _number(said.get("runs")),
    )


def _listed_as(label: str, place: str, asked: subprocess.CompletedProcess[str]) -> Job | None:
    """What `list` says where `print` makes no sense; `HostFailed` where it knows no more.

    It speaks of the caller's own domain only, so that what it doesn't know may be in the other one.
    """
    answer = call("list", label) if asked.returncode != USAGE else asked
    if answer.returncode == 0 and f'"{label}"' in answer.stdout:
        said = dict(_PAIR.findall(answer.stdout))
        status = _number(said.get("LastExitStatus"))
        pid = _number(said.get("PID"))
        ended = {} if status is None else _decoded(status)
        return Job(label, _own_domain(), "running" if pid else "not running", pid, **ended)
    if answer.returncode in GONE and place == _own_domain():
        return None
    said_first = reason(asked) if asked.returncode else "its answer makes no sense"
    raise HostFailed(f"launchctl print {place}/{label}: {said_first}")


def _own_domain() -> str:
    gui, user = domains()
    return gui if call("managername").stdout.strip() == "Aqua" else user


def _decoded(status: int) -> dict[str, int]:
    """From the status of wait(2), which `list` prints as it is."""
    return {"signal": status & 127} if status & 127 else {"exit_code": status >> 8}


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """launchctl's own words, or what the number is known to mean."""
    said = next((line.strip() for line in done.stderr.splitlines() if line.strip()), "")
    known = REASONS.get(done.returncode, "")
    if done.returncode < 0:
        known = f"it was ended by signal {-done.returncode}"
    return "; ".join(text for text in (said or f"status {done.returncode}", known) if text)


def _listed(text: str) -> Iterator[tuple[str, int | None]]:
    return _ours(line.split("\t") for line in text.splitlines())


def _services(text: str) -> Iterator[tuple[str, int | None]]:
    """The rows ``pid status label`` in the block of services of a printed domain."""
    rows = (line.split() for line in text.partition("services = {")[2].partition("}")[0].splitlines())
    return _ours(rows)


def _ours(rows: Iterable[list[str]]) -> Iterator[tuple[str, int | None]]:
    for row in rows:
        if len(row) == 3 and row[2].startswith("io.keiji."):
            yield row[2], _number(row[0]) or None


def _number(text: str | None) -> int | None:
    found = re.match(r"\s*(-?\d+)", text or "")
    return int(found[1]) if found else None
