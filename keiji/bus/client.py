"""What every client of the bus service does, whatever it reaches it by: see that it is the right one, ask.

The service is started by the system's manager, never by who carries the call: when it can't start, only
the manager says so.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from keiji import __version__, remedies
from keiji.directives import Directive, Reply, Verb
from keiji.errors import BusUnavailable, UsageError
from keiji.task import slug_of

if TYPE_CHECKING:
    from keiji.folders import Folders
    from keiji.host import Host

PING = 5.0  # seconds; whoever is alive answers that at once
_DIRECTIVE = 180.0  # seconds; a stop waits for the run's end, and others may be before it
_PATIENCE = 20.0  # seconds in which a service that was started must be found; it may be leaving just then
_PAUSE = 0.01
_STOPPING = (Verb.STOP, Verb.RESTART, Verb.DISABLE, Verb.DELETE)  # what can be had by hand, too
_NOT_THERE = "the bus was started and is not there: see `keiji system logs --bus`"


class Absent(Exception):
    """Nobody is where the service should be.

    It is started, and after `patience` seconds in which that was in vain `why` is the error.
    """

    def __init__(self, why: str = _NOT_THERE, patience: float = _PATIENCE) -> None:
        super().__init__(why)
        self.why = why
        self.patience = patience


class Client(ABC):
    """Sends directives to the service, which is started where it doesn't run."""

    def __init__(self, folders: Folders, host: Host) -> None:
        self.folders = folders
        self.host = host

    @abstractmethod
    def call(self, method: str, words: tuple[str, ...], timeout: float) -> tuple[Any, ...]:
        """One call; raises the error that came back, `Absent`, or `BusUnavailable`."""

    def send(self, directive: Directive) -> Reply:
        """Have a directive carried out; raises what the dispatcher raises, and `BusUnavailable`."""
        slug = slug_of(directive.task)  # what is no name needs no service to say so
        try:
            reply = self.ask(directive.verb.value.capitalize(), directive.task)
        except BusUnavailable as problem:
            if directive.verb not in _STOPPING:
                raise
            by_hand = f"without it, `{self.host.by_hand(slug)}` stops the task"
            raise BusUnavailable(f"{problem}\n{by_hand}") from None
        return Reply(*reply)

    def ask(self, method: str, *words: str) -> tuple[Any, ...]:
        """One call to the right service, which is up for it."""
        while True:
            self._make_ready()
            try:
                return self.call(method, words, _DIRECTIVE)
            except Absent:
                continue  # it left between the two calls

    def _make_ready(self) -> None:
        """See that a service of this version and these folders answers; raises `BusUnavailable`."""
        if self._version() == __version__:
            return
        self.host.stop_bus()  # it finishes what is in flight
        version = self._version()
        if version != __version__:
            files = self.host.bus_files()
            said = f"{' and '.join(files)} {'is' if len(files) == 1 else 'are'} in the way"
            raise BusUnavailable(
                f"the bus is keiji {version} and this is {__version__}: {said}; "
                "`keiji system update` writes keiji's own anew"
            )

    def _version(self) -> str:
        """Which version answers; one for other folders is refused, and left alone."""
        version, home = self._ping()
        if home != str(self.folders.home):
            raise UsageError(
                f"the bus that runs here serves the keiji in {home}: "
                f"use that one (KEIJI_HOME={remedies.word(home)})"
            )
        return version

    def _ping(self) -> tuple[str, str]:
        began, pause = 0.0, 0.0
        while True:
            try:
                version, home = self.call("Ping", (), PING)
                return version, home
            except Absent as absent:
                began = began or time.monotonic()  # from the first start on: to find nobody may take a while
                if time.monotonic() > began + absent.patience:
                    raise BusUnavailable(absent.why) from None
            time.sleep(pause)
            self.host.start_bus()
            pause = _PAUSE  # the manager may not have seen yet that it left
