"""The bus: the service that carries out directives, and how commands reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from keiji.directives import Directive, Reply


class Bus(Protocol):
    """Whatever takes a directive and answers with what happened; raises `KeijiError`."""

    def send(self, directive: Directive) -> Reply: ...
