"""The life of a task: what can be true of it, what that is called, and what each directive makes of it.

It is said here once. The dispatcher asks here what to refuse and what to bring about, and the README's table
is made from it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from keiji.directives import Verb
from keiji.errors import KeijiError, NoSuchTask, TaskBusy, TaskHeld, TaskNotBuilt


class State(str, enum.Enum):
    """The word for what is true of a task; one that is held and disabled at once reads as held."""

    CREATED = "created"  # a folder in the workspace, never built
    BUILT = "built"  # built and enabled, and the system is stopped
    ARMED = "armed"  # the manager waits for its next time
    QUEUED = "queued"  # a run was asked for and has not begun
    RUNNING = "running"
    DISABLED = "disabled"
    HELD = "held"
    DELETED = "deleted"  # nothing is left, not even a folder in the workspace

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Life:
    """What is true of a task; `is_started` is true of the system. Unless it `is_built`, little else is."""

    has_source: bool = False  # its folder is in the workspace
    is_built: bool = False
    is_enabled: bool = False
    is_held: bool = False
    is_running: bool = False
    is_queued: bool = False
    is_started: bool = False

    @property
    def is_armed(self) -> bool:
        """Whether the manager has to wait for its next time."""
        return self.is_built and self.is_enabled and not self.is_held and self.is_started

    @property
    def state(self) -> State:
        """The one word that says most."""
        if not self.is_built:
            return State.CREATED if self.has_source else State.DELETED
        if self.is_running:
            return State.RUNNING
        if self.is_queued:
            return State.QUEUED
        if self.is_held:
            return State.HELD
        if not self.is_enabled:
            return State.DISABLED
        return State.ARMED if self.is_armed else State.BUILT


def refusal(life: Life, verb: Verb) -> type[KeijiError] | None:
    """The error that a directive meets, or None where it is carried out."""
    if not life.is_built:
        return TaskNotBuilt if life.has_source else NoSuchTask
    if verb is not Verb.RUN:
        return None
    if life.is_held:
        return TaskHeld
    return TaskBusy if life.is_running or life.is_queued else None


def follow(life: Life, verb: Verb, is_inside: bool = False) -> Life:
    """What is true after a directive that is not refused.

    `is_inside`: it was given from inside the run in progress.
    """
    if verb is Verb.RUN:
        return replace(life, is_running=True)
    if verb is Verb.RESOLVE:
        return replace(life, is_held=False)
    if verb is Verb.ENABLE:
        return replace(life, is_enabled=True)
    if verb is Verb.DISABLE and is_inside:  # a task may disable itself, and goes on to its end
        return replace(life, is_enabled=False)
    at_rest = replace(life, is_running=False, is_queued=False)
    if verb is Verb.DISABLE:
        return replace(at_rest, is_enabled=False)
    if verb is Verb.DELETE:
        return Life(has_source=life.has_source, is_started=life.is_started)
    return at_rest
