"""Who is examined: what several checks need to know is read once."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TypeVar

from keiji import settings
from keiji.folders import Folders
from keiji.host import Host
from keiji.settings import Settings
from keiji.store import open_store
from keiji.task import Task

PATIENCE = 2.0  # seconds to wait for another process's write
_T = TypeVar("_T", bound=Hashable)
_PAUSE = 1.5  # seconds in which what passes by itself has passed


class Patient:
    """A keiji that may be broken anywhere: each property may raise what it meets."""

    def __init__(self, folders: Folders, host: Host) -> None:
        self.folders = folders
        self.host = host

    @cached_property
    def read(self) -> tuple[Settings, list[str]]:
        """The settings, and what there is to warn of; raises `InvalidSettings`."""
        return settings.load(self.folders)

    @property
    def settings(self) -> Settings:
        return self.read[0]

    @cached_property
    def tasks(self) -> list[Task]:
        """The tasks that the database has; raises `StoreUnavailable`."""
        with open_store(self.settings, PATIENCE, may_migrate=False) as store:
            return store.tasks()

    @cached_property
    def installed(self) -> list[str]:
        return self.host.installed()


def lasting(look: Callable[[], set[_T]]) -> set[_T]:
    """What is found twice, with a pause between; a task that is just being changed looks faulty, too."""
    found = look()
    if not found:
        return found
    time.sleep(_PAUSE)
    return found & look()
