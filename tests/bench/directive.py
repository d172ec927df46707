"""What a directive costs beside an empty call: the whole command and the bare call, warm and cold.

Cold: the bus service does not run, and is started for it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import plain_service
from place import KEIJI, PYTHON, CouldNot, place, run, systemctl
from row import Row, compared

TURNS = 25
SETTLE = 0.5  # a service that has just started is still at it when it has answered
SLUG = "idle"
SERVICE, PATH = "io.keiji.Bus1", "/io/keiji/Bus1"
COMMAND = (KEIJI, "task", "stop", SLUG)
CALL = ("busctl", "--user", "call", SERVICE, PATH, SERVICE, "Stop", "s", SLUG)
PLAIN = plain_service.NAME, plain_service.PATH, plain_service.NAME, "Nothing"
FLOOR = ("busctl", "--user", "call", *PLAIN)


@dataclass
class Seen:
    """Seconds, an entry a turn."""

    floor: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)
    cold_command: list[float] = field(default_factory=list)
    call: list[float] = field(default_factory=list)
    cold_call: list[float] = field(default_factory=list)


def rows() -> Sequence[Row]:
    """`keiji task stop` of an idle task, and the same by busctl."""
    seen = _observed()
    return [
        compared(what, ours, "an empty method of a warm pydbus service", seen.floor)
        for what, ours in (
            ("keiji task stop, bus warm", seen.command),
            ("keiji task stop, bus cold", seen.cold_command),
            ("busctl call Stop, bus warm", seen.call),
            ("busctl call Stop, bus cold", seen.cold_call),
        )
    ]


def _observed() -> Seen:
    seen = Seen()
    with place() as ours, _plain_service():
        ours.write_task(SLUG)
        run(KEIJI, "task", "build", SLUG)
        run(KEIJI, "system", "start")
        for command in (COMMAND, CALL, FLOOR):  # the first makes byte code
            run(*command)
        for _ in range(TURNS):
            time.sleep(SETTLE)
            seen.floor.append(run(*FLOOR))
            seen.call.append(run(*CALL))
            seen.command.append(run(*COMMAND))
            for command, took in ((CALL, seen.cold_call), (COMMAND, seen.cold_command)):
                systemctl("stop", f"{SERVICE}.service")
                time.sleep(SETTLE)
                took.append(run(*command))
    return seen


@contextmanager
def _plain_service() -> Iterator[None]:
    script = str(Path(__file__).with_name("plain_service.py"))
    with subprocess.Popen([PYTHON, script], stdout=subprocess.PIPE, stderr=sys.stderr) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise CouldNot("the plain service did not come up")
            yield
        finally:
            process.kill()
