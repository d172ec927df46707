"""A line for each step."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Failed(Exception):
    """A step did not do what it should; the message is for the person."""


@contextmanager
def step(debian: str, name: str, sentence: str) -> Iterator[None]:
    """Tells whether the step was done, and how long it took; raises what was raised in it."""
    began, outcome = time.monotonic(), "FAILED"
    try:
        yield
        outcome = "ok"
    finally:
        line = f"{debian:<2} {name:<9} {sentence} … {outcome} {time.monotonic() - began:.1f} s\n"
        sys.stdout.write(line)  # in one piece, since others write lines of theirs
        sys.stdout.flush()
