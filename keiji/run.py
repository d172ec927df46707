"""A run: one execution of a task, with a beginning, an end and a result."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime


class Result(str, enum.Enum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    KILLED = "killed"
    STOPPED = "stopped"  # on purpose: stop, restart, disable or delete
    SKIPPED = "skipped"  # a firing that a guard of keiji's dropped

    def __str__(self) -> str:
        return self.value


class Trigger(str, enum.Enum):
    """Why a run began."""

    TIMER = "timer"
    MANUAL = "manual"
    BOOT = "boot"
    CATCH_UP = "catch-up"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Run:
    """One execution. Times are aware; `cpu_seconds` counts children too; `error` is the end of what
    was said, or empty. `due` is None for a manual run."""

    id: str
    task: str  # the slug
    host: str
    trigger: Trigger
    began: datetime
    ended: datetime
    result: Result
    due: datetime | None = None
    exit_status: int | None = None
    signal: int | None = None
    error: str = ""
    attempts: int = 1
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    build: str = ""
