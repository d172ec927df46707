"""keiji has the operating system run Python functions on a schedule.

Importing the package costs nothing: `Schedule` is loaded when it is first asked for, because a
task's ``schedule.py`` and every command import this file.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Schedule"]


def __getattr__(name: str) -> object:
    if name == "Schedule":
        from keiji.schedule import Schedule

        return Schedule
    raise AttributeError(f"module 'keiji' has no attribute {name!r}")
