"""The collaborators of a command: the two folders, the settings, the host, the database, the bus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keiji import output, platforms, remedies, settings
from keiji.errors import InvalidSettings, NotInitialised, UsageError
from keiji.folders import Folders
from keiji.host import Host
from keiji.settings import Settings

if TYPE_CHECKING:
    from keiji.bus import Bus, Watcher
    from keiji.directives import Directive, Reply
    from keiji.store import Store


@dataclass(frozen=True)
class Session:
    """What a command works with. Database and bus are connected only by those that need them.

    `problem`: settings.conf can't be used, and `settings` are the defaults; which database is then unknown.
    """

    folders: Folders
    settings: Settings
    host: Host
    bus: Bus
    problem: InvalidSettings | None = None

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The database, opened at its first use; raises `StoreUnavailable`, `InvalidSettings`."""
        if self.problem:
            raise self.problem
        from keiji.store import open_store

        with open_store(self.settings) as store:
            yield store

    def send(self, directive: Directive) -> Reply:
        """Have a directive carried out; raises what the dispatcher raises, and `BusUnavailable`."""
        return self.bus.send(directive)

    def watcher(self) -> Watcher:
        """Who is told of changes; starts the bus, and keeps it up. Raises `BusUnavailable`."""
        return platforms.watcher(self.folders, self.host)


def load(must_stop: bool = False) -> Session:
    """The session of this person; raises `NotInitialised` before `keiji init`, `InvalidSettings`.

    `must_stop`: for what stops tasks, or clears up after them, which a wrong line in settings.conf must not
    prevent; it is told.
    """
    folders = Folders.of(os.environ)
    if not folders.run.is_dir() or not folders.workspace.is_dir():
        raise NotInitialised(f"there is no keiji in {folders.home} yet: run `keiji init` first")
    problem = None
    try:
        read, warnings = settings.load(folders)
    except InvalidSettings as wrong:
        if not must_stop:
            raise
        read, warnings, problem = Settings(folders, time_zone=settings.machine_zone()), [wrong.message], wrong
    for warning in warnings:
        output.note(warning)
    host = platforms.host(folders)
    check_owner(host)
    return Session(folders, read, host, platforms.bus(folders, host), problem)


def check_owner(host: Host) -> None:
    """Refuse to touch units that belong to another system folder; raises `UsageError`."""
    other = host.owner()
    if other:
        raise UsageError(
            f"the units installed here belong to the keiji in {other}: "
            f"use that one (KEIJI_HOME={remedies.word(other)}), or `keiji system uninstall` it first"
        )
