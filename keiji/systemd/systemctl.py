"""Calls of `systemctl --user`: one cold question costs 6 ms there, ten times that over pydbus."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from keiji.errors import HostFailed

_T = TypeVar("_T")
_RUNTIME = "/run/user"
_FEW = 8  # unit names for which a pattern each is cheaper than to hear of all units
_BATCH = 500  # unit names a call: a command line is limited to 128 KiB a word list on small systems


def call(*words: str, check: bool = True, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run one `systemctl --user` call; raises `HostFailed` with systemd's own first line."""
    done = run("systemctl", "--user", *words, timeout=timeout)
    if check and done.returncode != 0:
        raise HostFailed(_reason(words, done.stderr))
    return done


def run(program: str, *words: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run one of systemd's programs, whatever its exit status; raises `HostFailed` when that can't be."""
    try:
        return subprocess.run(
            [program, *words], capture_output=True, text=True, env=environment(), timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise HostFailed(f"{program} is not on PATH: keiji needs systemd on this machine") from None
    except subprocess.TimeoutExpired:
        said = " ".join([program, *words[:2]])
        raise HostFailed(f"{said} did not answer within {timeout:.0f} s") from None


def each(verb: Sequence[str], names: Sequence[str], check: bool = True) -> None:
    """One call of `verb` for all `names`, or a few where there are very many."""
    for start in range(0, len(names), _BATCH):
        call(*verb, *names[start : start + _BATCH], check=check)


def show(name: str, properties: Sequence[str]) -> dict[str, str]:
    """The properties of one unit, which is loaded if it is not; one that is not there answers, too."""
    printed = call("show", "--property=" + ",".join(properties), "--", name).stdout
    return dict(row.split("=", 1) for row in printed.splitlines() if "=" in row)


def show_all(names: Sequence[str], properties: Sequence[str]) -> list[dict[str, str]]:
    """The properties of several units, in their order and in one call, or a few where there are very many."""
    found: list[dict[str, str]] = []
    for start in range(0, len(names), _BATCH):
        # Without --all a pattern finds only what is active.
        words = ("--all", "--property=" + ",".join(properties), "--", *names[start : start + _BATCH])
        blocks = call("show", *words).stdout.strip().split("\n\n")
        found += [dict(row.split("=", 1) for row in block.splitlines() if "=" in row) for block in blocks]
    return found


def program(started: str) -> str:
    """The file that a unit executes, out of its ``ExecStart`` as `show` prints it."""
    return started.partition("path=")[2].partition(" ;")[0]


# To name a unit loads it, and a timer's loads the target, and with it all the others: with the system
# stopped, asking 100 timers in turn took half a minute. A pattern is held against what is loaded.


def states(names: Sequence[str], every: str) -> dict[str, tuple[str, str]]:
    """``ActiveState`` and ``SubState`` of those units that are loaded.

    `every` is a pattern that matches all of `names`.
    """
    if not names:
        return {}
    rows = _listed("list-units", names, every)
    return _of({row[0]: (row[2], row[3]) for row in rows if len(row) >= 4}, names)


def elapses(names: Sequence[str], every: str) -> dict[str, datetime | None]:
    """The next time of those of the timers that are loaded; None where one waits for none.

    `systemctl show` would have the manager look through all links for each unit that it shows.
    """
    if not names:
        return {}
    rows = _listed("list-timers", names, every)
    return _of({row[-2]: moment(" ".join(row[:4])) for row in rows if len(row) > 4}, names)


def moment(text: str) -> datetime | None:
    """A time as systemd prints it under TZ=UTC: ``Mon 2026-11-23 12:32:00 UTC``; None for anything else."""
    words = text.split()
    if len(words) != 4 or words[3] != "UTC":
        return None
    return datetime.fromisoformat(f"{words[1]} {words[2]}+00:00")


def bus_address() -> str:
    """Where the session bus of the same manager is."""
    found = environment()
    runtime = found.get("XDG_RUNTIME_DIR", f"{_RUNTIME}/{os.getuid()}")
    return found.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"


def environment() -> dict[str, str]:
    """systemctl's words kept plain; and where manager and session bus are, which cron and `su` don't say."""
    found = {**os.environ, "LC_ALL": "C", "TZ": "UTC", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    # Called from a service it would tell the journal what is wrong, and its caller nothing.
    found["SYSTEMD_LOG_TARGET"] = "console"
    named = found.get("XDG_RUNTIME_DIR")
    if named is None and "DBUS_SESSION_BUS_ADDRESS" in found:
        return found
    own = f"{_RUNTIME}/{os.getuid()}"
    if (named is None or not _is_own(named)) and _is_own(own):
        found["XDG_RUNTIME_DIR"] = own
        found.pop("DBUS_SESSION_BUS_ADDRESS", None)
    return found


def runtime_folder() -> str:
    """Where the manager reads units that are gone after a reboot."""
    return environment().get("XDG_RUNTIME_DIR") or f"{_RUNTIME}/{os.getuid()}"


def _is_own(folder: str) -> bool:
    try:
        return os.stat(folder).st_uid == os.getuid()
    except OSError:
        return False


def _listed(verb: str, names: Sequence[str], every: str) -> list[list[str]]:
    """The words of each row; ``keiji-a.time[r]`` is a pattern that matches one name."""
    patterns = [every] if len(names) > _FEW else [f"{name[:-1]}[{name[-1]}]" for name in names]
    printed = call(verb, "--all", "--full", "--plain", "--no-legend", "--", *patterns).stdout
    return [row.split() for row in printed.splitlines()]


def _of(found: dict[str, _T], names: Sequence[str]) -> dict[str, _T]:
    return {name: found[name] for name in names if name in found}


def _reason(words: Sequence[str], stderr: str) -> str:
    lines = [line for line in stderr.strip().splitlines() if line]
    said = lines[0] if lines else "it gave no reason"
    if "Failed to connect to bus" in said:
        from keiji import remedies

        return f"no systemd user manager answers ({said}): log in as the user, or run `{remedies.linger()}`"
    named = [word for word in words if word != "--"]
    return f"systemctl --user {' '.join(named[:3])}: {said}"
