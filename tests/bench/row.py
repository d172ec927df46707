"""What a measurement found, and the table of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

HEAD = ("WHAT", "KEIJI", "AGAINST", "FLOOR", "RATIO", "QUARTILES", "GOAL", "")


@dataclass(frozen=True)
class Row:
    """One line of the table. `figure` is what the goal is about: it is met up to `goal`, if there is one."""

    what: str
    ours: str
    against: str
    floor: str
    figure: float
    quartiles: str
    goal: float | None
    unit: str = ""

    def cells(self) -> tuple[str, ...]:
        figure = f"{self.figure:.2g} {self.unit}" if self.unit else f"{self.figure:.2f}"
        if self.goal is None:
            return (self.what, self.ours, self.against, self.floor, figure, self.quartiles, "-", "")
        goal = f"<= {self.goal:g} {self.unit}" if self.unit else f"<= {self.goal:.2f}"
        verdict = "ok" if self.figure <= self.goal else "over"
        return (self.what, self.ours, self.against, self.floor, figure, self.quartiles, goal, verdict)


def compared(
    what: str,
    ours: Sequence[float],
    against: str,
    floor: Sequence[float],
    goal: float | None = None,
    parts: int = 1,
) -> Row:
    """The ratio of two rows of seconds, taken in turns; `parts`: how many things each of them did.

    It is the median of the turns' own ratios: what makes the machine slow for a while slows both of a turn.
    """
    pairs = [mine / other for mine, other in zip(ours, floor, strict=True)]
    shown = [_milliseconds(median(seconds) / parts) for seconds in (ours, floor)]
    return Row(what, shown[0], against, shown[1], median(pairs), _quartiles(pairs), goal)


def table(rows: Sequence[Row]) -> str:
    """The rows as text, in columns."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.{0 if seconds >= 1 else 1}f} ms"


def _quartiles(ratios: Sequence[float]) -> str:
    """Where the middle half of the ratios of the single turns lies: how far the figure can be trusted."""
    if len(ratios) < 3:
        return "-"
    first, _, third = quantiles(ratios, n=4, method="inclusive")
    return f"{first:.2f}-{third:.2f}"
