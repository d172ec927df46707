"""What a thousand tasks cost: to build, to build again, to build one more, to start.

Each round makes a new place and measures all four there, each beside its floor.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import cache

from place import KEIJI, UNITS, Place, bare, place, remove_plain, run, settle, systemctl, write_plain
from row import Row, compared

from keiji.schedule import phase_of
from keiji.systemd import expressions

TASKS = 1000
ROUNDS = 3
TURNS = 5  # of what is quick, in each round
DAY = 86400
SLUGS = [f"task-{number:04}" for number in range(TASKS)]
TARGET = "bench.target"


@dataclass
class Seen:
    """Seconds, an entry a round; of what is quick, an entry a turn."""

    new: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    one_at_one: list[float] = field(default_factory=list)
    one_at_many: list[float] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    plain_start: list[float] = field(default_factory=list)


def start() -> Row:
    """`system start` beside what systemd needs for as many timers of anybody's."""
    seen = observed()
    plain = "reload and start of as many plain timers"
    return compared(f"system start, {TASKS} tasks", seen.start, plain, seen.plain_start, goal=1.25)


def one_more() -> Row:
    """Building one more task, the system being started."""
    seen = observed()
    what, against = f"build one more at {TASKS}", "build one more at 1"
    return compared(what, seen.one_at_many, against, seen.one_at_one, goal=1.5)


def all_new() -> Row:
    """`build --all` of tasks that were never built, the system being started."""
    seen = observed()
    what, against = f"build --all, {TASKS} new tasks; of each", f"{TASKS} bare pythons; of each"
    return compared(what, seen.new, against, seen.bare, goal=2, parts=TASKS)


def unchanged() -> Row:
    """`build --all` again."""
    seen = observed()
    what, against = f"build --all, {TASKS} unchanged; of each", "the same, all new"
    return compared(what, seen.unchanged, against, seen.new, goal=0.2, parts=TASKS)


@cache
def observed() -> Seen:
    """All rounds, seen once however many figures are taken from them."""
    seen = Seen()
    for _ in range(ROUNDS):
        with place() as ours:
            _round(ours, seen)
    return seen


def _round(ours: Place, seen: Seen) -> None:
    run(KEIJI, "system", "start")
    ours.write_task(SLUGS[0])
    run(KEIJI, "task", "build", SLUGS[0])  # makes the environment, too
    seen.one_at_one += _one_more(ours)
    run(KEIJI, "task", "delete", SLUGS[0])
    for slug in SLUGS[1:]:
        ours.write_task(slug)
    before = bare(TASKS // 2)
    seen.new.append(run(KEIJI, "task", "build", "--all"))
    seen.bare.append(before + bare(TASKS - TASKS // 2))
    seen.unchanged.append(run(KEIJI, "task", "build", "--all"))
    seen.one_at_many += _one_more(ours)
    for _ in range(TURNS):
        run(KEIJI, "system", "stop")
        seen.plain_start.append(_start_plain())
        settle()
        seen.start.append(run(KEIJI, "system", "start"))


def _one_more(ours: Place) -> list[float]:
    took = []
    for _ in range(TURNS):
        ours.write_task("one-more")
        took.append(run(KEIJI, "task", "build", "one-more"))
        run(KEIJI, "task", "delete", "one-more")
        shutil.rmtree(ours.workspace / "tasks" / "one-more")
    return took


def _start_plain() -> float:
    """Seconds for the same without keiji; nothing of it is left."""
    wants = UNITS / f"{TARGET}.wants"
    wants.mkdir(parents=True)
    (UNITS / TARGET).write_text("[Unit]\nDescription=plain timers\n")  # an empty file masks a unit
    names = [f"bench-{slug}" for slug in SLUGS]
    for name, slug in zip(names, SLUGS, strict=True):
        (calendar,) = expressions.of_period(DAY, phase_of(DAY, slug))
        write_plain(name, ["/bin/true"], calendar)
        (wants / f"{name}.timer").symlink_to(f"../{name}.timer")
    settle()
    try:
        took = systemctl("daemon-reload") + systemctl("start", TARGET)
        systemctl("stop", "bench-*.timer", TARGET)
        return took
    finally:
        shutil.rmtree(wants)
        (UNITS / TARGET).unlink()
        remove_plain(names)
        systemctl("daemon-reload")
