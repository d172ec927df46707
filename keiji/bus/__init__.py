"""The bus: the service that carries out directives, and how commands reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from keiji.directives import Directive, Reply


class Bus(Protocol):
    """Whatever takes a directive and answers with what happened; raises `KeijiError`."""

    def send(self, directive: Directive) -> Reply: ...


class Watcher(Protocol):
    """Who is told when a task or a run may be other than at the last look."""

    def wait(self) -> None:
        """Sleep until something may have changed since the last call returned.

        Raises `BusUnavailable` when the bus has gone for good, `BrokenPipeError` once nobody reads stdout.
        """

    def wake(self) -> None:
        """Have `wait` return all the same; also from within a signal's handler."""
