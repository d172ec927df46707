"""GLib's main loop for tests: it turns until what the test waits for has come."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from gi.repository import GLib


def turn_until(condition: Callable[[], object], what: str, timeout: float = 60) -> None:
    """Sleep in the main loop until an event has made the condition true; fails the test if none does."""
    given_up: list[bool] = []

    def give_up() -> bool:
        given_up.append(True)
        return False

    timer = GLib.timeout_add(int(timeout * 1000), give_up)
    while not condition():
        if given_up:
            pytest.fail(f"waited {timeout:g} s in vain for {what}", pytrace=False)
        GLib.MainContext.default().iteration(True)
    GLib.source_remove(timer)
