"""What the bus does, whatever it is reached by: directives in lanes, answers to questions, deliveries.

A transport hands requests in with a function to answer by; it knows nothing of tasks, and this knows
nothing of D-Bus or sockets.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from keiji import __version__, records, settings
from keiji.bus.changes import Changes
from keiji.bus.lanes import Lanes
from keiji.delivering import deliver
from keiji.directives import Directive, Reply
from keiji.dispatcher import Dispatcher
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.host import Host
from keiji.run import Run
from keiji.store import Store, open_store
from keiji.task import slug_of

_DELIVERIES = "/deliveries"  # no task's lane: a slug has no slash
_CHANGES = "/changes"
_MENDS = "/mend-"
_NAMELESS = "/nameless"

_T = TypeVar("_T")
Answer = Callable[[Any, "Exception | None"], None]


class Desk:
    """Takes requests from any thread and answers each once, from another thread.

    `answer(value, None)` or `answer(None, problem)` is called for each; `log(event, **fields)` is told
    what was done, `tell(slug, state)` that a task's state is another. All are called from any thread.
    """

    def __init__(
        self, folders: Folders, host: Host, log: Callable[..., None], tell: Callable[[str, str], None]
    ) -> None:
        self.folders = folders
        self.host = host
        self.log = log
        self._tell = tell
        self._changes = Changes(folders, host)
        self._doubted: set[str] = set()
        self._to_mend: set[str] = set()
        self.lanes = Lanes()
        self.dispatcher = Dispatcher(folders, host, self._open_store)
        self._questions = itertools.count()

    def direct(self, directive: Callable[[], Directive], task: str, answer: Answer) -> None:
        """Have a directive to `task` carried out after those to the same task that came before.

        `directive` is called when its turn has come.
        """
        lane = _lane(task)
        self.lanes.put(lane, lambda: self._answer(lambda: self._carry_out(directive()), answer))
        if lane != _NAMELESS:
            self.lanes.put(lane, lambda: self._mend_soon(lane))

    def ask(self, question: Callable[[], Any], answer: Answer) -> None:
        """Have a question answered, beside all others."""
        self.lanes.put(f"/question-{next(self._questions)}", lambda: self._answer(question, answer))

    # -- questions -----------------------------------------------------------------------------

    def version_and_home(self) -> tuple[str, str]:
        return __version__, str(self.folders.home)

    def slugs(self) -> list[str]:
        """The installed tasks."""
        return self.host.installed()

    def records(self) -> list[dict[str, Any]]:
        """The records of all tasks, by name, each with its `state` in a word."""
        return self._records(None)

    def record(self, task: str) -> dict[str, Any]:
        """The record of one task; raises `NoSuchTask`, `TaskNotBuilt`."""
        return self._records(task)[0]

    def find_run(self, run: str) -> Run | None:
        """The recorded run of that id, whatever its task."""
        with self._open_store() as store:
            return store.run_of_id(run)

    # -- deliveries ----------------------------------------------------------------------------

    def deliver_soon(self) -> None:
        """Have the records of ended runs brought into the database; asking often costs no more."""
        self.lanes.put_once(_DELIVERIES, self._deliver)

    def _deliver(self) -> None:
        self._in_peace(self._delivered)

    def _delivered(self) -> None:
        with self._open_store() as store:
            deliver(self.host, store)

    # -- changes -------------------------------------------------------------------------------

    def learn_states(self) -> None:
        """Take the tasks' states as they are now for known; called once what changes is followed."""
        self.lanes.put(_CHANGES, self._learn)

    def look_again_at(self, slug: str) -> None:
        """Have it told if the task's state is another than was last told."""
        self._doubted.add(slug)
        self.lanes.put_once(_CHANGES, self._tell_changes)

    def _learn(self) -> None:
        self._in_peace(lambda: self._changes.learn(lambda: set(self._doubted)))

    def _tell_changes(self) -> None:
        slugs = {self._doubted.pop() for _ in range(len(self._doubted))}
        for slug, state in (self._in_peace(lambda: self._changes.tell(slugs)) or {}).items():
            self._tell(slug, state)

    # -- parts ---------------------------------------------------------------------------------

    def _mend_soon(self, slug: str) -> None:
        """Have the record mended beside the next directives, which don't wait for a locked database."""
        if slug not in self._to_mend:
            self._to_mend.add(slug)
            self.lanes.put(_MENDS + slug, lambda: self._mend(slug))

    def _mend(self, slug: str) -> None:
        self._to_mend.discard(slug)  # first: what changes from now on has it mended again
        self._in_peace(lambda: self.dispatcher.mend(slug))

    def _carry_out(self, directive: Directive) -> Reply:
        began = time.monotonic()
        outcome = "done"
        try:
            return self.dispatcher.send(directive)
        except Exception as problem:
            outcome = _first_line(problem)
            raise
        finally:
            took = round((time.monotonic() - began) * 1000)
            self.log(
                "directive", verb=str(directive.verb), task=directive.task[:64], took_ms=took, outcome=outcome
            )

    def _answer(self, work: Callable[[], Any], answer: Answer) -> None:
        try:
            value = work()
        except Exception as problem:
            if not isinstance(problem, KeijiError):
                self.log("unexpected", level="error", error=f"{type(problem).__name__}: {problem}"[:1000])
            answer(None, problem)
            return
        answer(value, None)

    def _in_peace(self, work: Callable[[], _T]) -> _T | None:
        """Do what nobody waits for; what goes wrong is logged."""
        try:
            return work()
        except Exception as problem:
            self.log("not followed", level="error", error=_first_line(problem))
            return None

    def _records(self, name: str | None) -> list[dict[str, Any]]:
        with self._open_store() as store:
            deliver(self.host, store)
            return records.records(self.host, store, name)

    def _open_store(self) -> Store:
        read, _ = settings.load(self.folders)  # at each use: it may have been changed
        return open_store(read)


def _lane(task: str) -> str:
    try:
        return slug_of(task)
    except KeijiError:
        return _NAMELESS


def _first_line(problem: BaseException) -> str:
    return str(problem).partition("\n")[0][:500]
