"""What a firing costs, how soon the function is entered, and whether it drifts: one minute for all three.

Three timers fire once a second, a third of a second apart: a task of keiji's, a unit that starts Python for
nothing, and a unit that calls the same function.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from statistics import median

from place import KEIJI, CouldNot, Place, cgroup, place, remove_plain, run, systemctl, write_plain
from row import Row, compared

from keiji.environment import interpreter
from keiji.schedule import phase_of
from keiji.systemd import expressions

SECONDS = 60
SETTLE = 3
SLUG = "beat"
PLAIN = ("bench-pass", "bench-function")
NANO = 1_000_000_000
FUNCTION = """\
import posix
import time


def function():
    now = time.time_ns()
    fd = posix.open("{stamps}", posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND)
    posix.write(fd, b"%d\\n" % now)
    posix.close(fd)
"""


@dataclass
class Seen:
    """A minute: CPU seconds of each firing of keiji's and of bare Python; how late each function began, in
    seconds after its due time (in whole seconds since the epoch)."""

    cpu: list[float] = field(default_factory=list)
    bare_cpu: list[float] = field(default_factory=list)
    late: dict[int, float] = field(default_factory=dict)
    bare_late: dict[int, float] = field(default_factory=dict)


def cpu() -> Row:
    """CPU of the manager and its children for one firing."""
    seen = observed()
    return compared(
        "CPU of a firing", seen.cpu, "a unit with `python -I -S -c pass`", seen.bare_cpu, goal=1.20
    )


def entry() -> Row:
    """From the due time to the function's first line."""
    seen = observed()
    both = sorted(seen.late.keys() & seen.bare_late.keys())
    return compared(
        "from due to the function's first line",
        [seen.late[at] for at in both],
        "a unit that calls the function",
        [seen.bare_late[at] for at in both],
        goal=1.10,
    )


def drift() -> Row:
    """By how much a minute makes the function later; by Theil-Sen, since single firings vary."""
    late = sorted(observed().late.items())
    slopes = [(y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(late) for x2, y2 in late[i + 1 :]]
    milliseconds = abs(median(slopes)) * 60 * 1000
    spread = f"late by {median(y for _, y in late) * 1000:.1f} ms"
    return Row("drift of every(1).seconds() in 60 s", spread, "the clock", "-", milliseconds, "-", 5, "ms")


@cache
def observed() -> Seen:
    """The minute, seen once however many figures are taken from it."""
    with place() as ours:
        folder = ours.workspace.parent
        phase = phase_of(1, SLUG)
        _write_units(ours, folder, phase)
        try:
            run(KEIJI, "task", "build", SLUG)
            run(KEIJI, "system", "start")
            systemctl("start", *(f"{name}.timer" for name in PLAIN))
            return _watch(folder, phase)
        finally:
            systemctl("stop", *(f"{name}.timer" for name in PLAIN))
            remove_plain(PLAIN)


def _write_units(ours: Place, folder: Path, phase: timedelta) -> None:
    stamps = folder / "stamps"
    stamps.mkdir()
    ours.write_task(SLUG, FUNCTION.format(stamps=stamps / "keiji"), "Schedule().run().every(1).seconds()")
    bare = folder / "bare"
    bare.mkdir()
    (bare / "function.py").write_text(FUNCTION.format(stamps=stamps / "bare"))
    python = interpreter()  # what the task's unit starts
    run(python, "-I", "-m", "compileall", "-q", str(bare))
    call = f"\"import sys; sys.path.insert(0, '{bare}'); import function; function.function()\""
    commands = ([python, "-I", "-S", "-c", "pass"], [python, "-I", "-S", "-u", "-c", call])
    for number, (name, command) in enumerate(zip(PLAIN, commands, strict=True), 1):
        (calendar,) = expressions.of_period(1, phase + timedelta(milliseconds=333 * number))
        write_plain(name, command, calendar)
    systemctl("daemon-reload")


def _watch(folder: Path, phase: timedelta) -> Seen:
    seen = Seen()
    meter = _meter()
    first = time.time_ns() // NANO + SETTLE
    offset = phase // timedelta(microseconds=1) * 1000
    used = 0.0
    for number in range(3 * SECONDS + 1):  # three turns a second: keiji, pass, the function
        _sleep_until(first * NANO + offset + (333 * (number % 3) - 20) * 1_000_000 + number // 3 * NANO)
        before, used = used, meter()
        if number and number % 3 != 0:
            (seen.cpu if number % 3 == 1 else seen.bare_cpu).append(used - before)
    seen.late = _lateness(folder / "stamps" / "keiji", offset, first)
    seen.bare_late = _lateness(folder / "stamps" / "bare", offset + 666_000_000, first)
    return seen


def _sleep_until(moment: int) -> None:
    left = moment - time.time_ns()
    if left > 0:
        time.sleep(left / NANO)


def _lateness(stamps: Path, offset: int, first: int) -> dict[int, float]:
    times: Sequence[int] = [int(stamp) - offset for stamp in stamps.read_text().split()]
    late = {at // NANO: at % NANO / NANO for at in times if first <= at // NANO < first + SECONDS}
    if len(late) < SECONDS * 0.9:
        raise CouldNot(f"{len(late)} of {SECONDS} firings came")
    return late


def _meter() -> Callable[[], float]:
    """A function that returns the CPU seconds that the manager and all it ever started have used."""
    file = cgroup() / "cpu.stat"

    def used() -> float:
        return int(file.read_text().split()[1]) / 1e6  # the first line is usage_usec

    return used
