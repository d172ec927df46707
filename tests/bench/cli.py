"""What a look costs: the installed `keiji` beside a bare Python."""

from __future__ import annotations

from place import BARE, KEIJI, place, run
from row import Row, compared

TURNS = 40


def get() -> Row:
    """`keiji task get` of an armed task."""
    with place() as ours:
        ours.write_task("seen")
        run(KEIJI, "task", "build", "seen")
        run(KEIJI, "system", "start")
        return _beside_bare("keiji task get", [KEIJI, "task", "get", "seen"], goal=8)


def help_() -> Row:
    """`keiji --help`."""
    return _beside_bare("keiji --help", [KEIJI, "--help"], goal=5)


def _beside_bare(what: str, command: list[str], goal: float) -> Row:
    run(*command)  # the byte code of a fresh checkout is made by the first
    ours, floor = [], []
    for _ in range(TURNS):
        floor.append(run(*BARE))
        ours.append(run(*command))
    return compared(what, ours, "bare python", floor, goal)
