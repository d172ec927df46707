"""GLib and Gio, brought when something of them is first used: macOS has neither, and imports all modules."""

from __future__ import annotations

import importlib
from typing import Any


class _Late:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module(f"gi.repository.{self._name}"), name)
        setattr(self, name, found)
        return found


Gio: Any = _Late("Gio")
GLib: Any = _Late("GLib")
