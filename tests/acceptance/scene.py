"""What the steps have in common: the machine, its people, and what one step leaves for another."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import pairwise

from box import Box
from person import Person, Run
from report import Failed

PERIOD = 3
YEARLY = 'Schedule().cron("0 0 1 1 *")'
LIMIT = 120  # seconds for apt
_APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "--yes"]


@dataclass
class Scene:
    """One machine on which two people use keiji."""

    box: Box
    ada: Person
    bob: Person
    version: str
    newer: str
    empty_home: set[str] = field(default_factory=set)
    due: datetime = datetime.min  # while the machine is off
    long_due: datetime = datetime.min

    def install(self, version: str) -> None:
        self.box.run(*_APT, "install", "--no-install-recommends", f"/srv/{version}.deb", timeout=LIMIT)

    def remove(self, how: str) -> None:
        """`how` is ``remove`` or ``purge``."""
        self.box.run(*_APT, how, "keiji", timeout=LIMIT)


def expect(condition: object, message: str) -> None:
    """Raise `Failed` with the message when the condition isn't true."""
    if not condition:
        raise Failed(message)


def expect_on_time(runs: list[Run]) -> None:
    """Each firing of a period came, and none but these."""
    due = sorted(moment(run["due"]) for run in runs if run["trigger"] == "timer")
    gaps = {(after - before).total_seconds() for before, after in pairwise(due)}
    expect(
        gaps == {float(PERIOD)},
        f"each {PERIOD} s a run was due, and they came at {[f'{at:%T.%f}' for at in due]}",
    )


def now() -> datetime:
    return datetime.now(timezone.utc)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
