"""Directives: what can be asked of a task, and the one `Dispatcher` that carries them out.

The dispatcher alone changes the manager, the latch and the record, one directive of a task after
another (a lock a task). A directive that cannot be carried out changes nothing. It knows nothing of
how a directive came: transports and tests call `Dispatcher.send`.
"""

from __future__ import annotations

import enum
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keiji import files, latches, ledger, running, verdict
from keiji.errors import HostFailed, KeijiError, NoSuchTask, TaskBusy, TaskHeld, TaskNotBuilt
from keiji.folders import Folders
from keiji.host import Host
from keiji.locks import task_lock
from keiji.run import Result
from keiji.task import slug_of

if TYPE_CHECKING:
    from keiji.store import Store


class Verb(str, enum.Enum):
    RUN = "run"
    STOP = "stop"
    RESTART = "restart"
    ENABLE = "enable"
    DISABLE = "disable"
    RESOLVE = "resolve"
    DELETE = "delete"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Directive:
    """A message to the dispatcher: do `verb` to the task called `task`.

    `inside`: the id of the run from inside which it is given, if any.
    """

    verb: Verb
    task: str
    inside: str = ""


@dataclass(frozen=True)
class Reply:
    """What happened, for a person; `run` is the id of the run that was begun or ended, if any."""

    message: str
    run: str = ""


class Dispatcher:
    """Carries out directives on one host. `open_store` is called only by those that need the database."""

    def __init__(self, folders: Folders, host: Host, open_store: Callable[[], Store]) -> None:
        self.folders = folders
        self.host = host
        self.open_store = open_store

    def send(self, directive: Directive) -> Reply:
        """Carry out one directive; raises a `KeijiError` that says why it can't be, with nothing changed."""
        slug = slug_of(directive.task)
        handler: Callable[[str], Reply] = getattr(self, f"_{directive.verb.value}")
        with task_lock(self.folders, slug):
            self._check_exists(slug, directive.verb)
            verdict.settle(self.folders, self.host, slug)
            self._check_outside(slug, directive.verb)
            return handler(slug)

    def mend(self, slug: str) -> None:
        """Have the record repeat what is true of the task, if the database can be reached."""

    # -- the verbs; each holds the task's lock ----------------------------------------------

    def _run(self, slug: str) -> Reply:
        if latches.latch(self.folders, slug):
            raise TaskHeld(
                f"task {slug!r} is held after a failure: see `keiji task logs {slug}`, "
                f"then `keiji task resolve {slug}`"
            )
        entry = running.running_entry(self.folders, slug)
        if entry:
            raise TaskBusy(f"a run of task {slug!r} is in progress ({entry.id})")
        marker = self.folders.requested(slug)
        self.host.log(slug, "INFO", "run: asked for by hand")
        files.write(marker, "")
        try:
            # A quick run may be over, and its unit forgotten, before the manager is asked for its id.
            run = self.host.start_run(slug) or ledger.latest_done(self.folders, slug)
        except BaseException:
            marker.unlink(missing_ok=True)
            raise
        return Reply(f"{slug}: run {run} began", run)

    def _stop(self, slug: str) -> Reply:
        run = self._end_run(slug)
        self.host.log(slug, "INFO", f"stop: {'run ' + run if run else 'nothing was running'}")
        if run:
            return Reply(f"{slug}: run {run} stopped; the schedule goes on", run)
        return Reply(f"{slug}: nothing was running; the schedule goes on")

    def _restart(self, slug: str) -> Reply:
        run = self._end_run(slug)
        ended = f"run {run} stopped; " if run else ""
        self.host.disarm([slug])
        armed = self._arm_where_due(slug)
        self.host.log(slug, "INFO", f"restart: {ended}{armed}")
        return Reply(f"{slug}: {ended}{armed}", run)

    def _enable(self, slug: str) -> Reply:
        was_enabled = self.host.is_enabled(slug)
        self.host.set_enabled(slug, True)
        try:
            armed = self._arm_where_due(slug)
        except KeijiError:
            self.host.set_enabled(slug, was_enabled)
            raise
        self.host.log(slug, "INFO", f"enable: {armed}")
        return Reply(f"{slug}: enabled; {armed}")

    def _disable(self, slug: str) -> Reply:
        self.host.timers([slug])  # if no manager answers, nothing is changed
        self.host.set_enabled(slug, False)
        self.host.disarm([slug])
        run = "" if self._is_inside(slug) else self._end_run(slug)  # a task may disable itself
        ended = f"run {run} stopped; " if run else ""
        self.host.log(slug, "INFO", f"disable: {ended}no further run until it is enabled")
        return Reply(f"{slug}: disabled; {ended}no further run until it is enabled", run)

    def _resolve(self, slug: str) -> Reply:
        latch = self.folders.held(slug)
        if not latch.exists():
            return Reply(f"{slug}: it was not held; nothing changed")
        text = latch.read_text(encoding="utf-8")
        self.host.forget_failure(slug)  # else the next failure of any task has this one judged again
        latch.unlink()
        try:
            armed = self._arm_where_due(slug)
        except BaseException:
            files.write(latch, text)
            raise
        self.host.log(slug, "INFO", f"resolve: {armed}")
        return Reply(f"{slug}: resolved; {armed}")

    def _delete(self, slug: str) -> Reply:
        # In this order a crash between any two steps leaves a task that `delete` can still name:
        # its record goes last.
        with self.open_store() as store:
            store.check_writable()
            self.host.timers([slug])
            if self.host.is_installed(slug):
                self.host.set_enabled(slug, False)
                self.host.disarm([slug])
                self._end_run(slug)
                for path in self.host.unit_files(slug):
                    path.unlink(missing_ok=True)
                self.host.reload()
                self.host.forget(slug)
            for path in self._own_files(slug):
                path.unlink(missing_ok=True)
            ledger.drop_done(self.folders, slug)
            shutil.rmtree(self.folders.builds(slug), ignore_errors=True)
            shutil.rmtree(self.folders.logs / "tasks" / slug, ignore_errors=True)
            store.delete_task(slug)
        source = self.folders.tasks / slug
        return Reply(f"{slug}: deleted" + (f"; its source stays in {source}" if source.exists() else ""))

    # -- parts --------------------------------------------------------------------------------

    def _check_exists(self, slug: str, verb: Verb) -> None:
        if self.host.is_installed(slug):
            return  # told without the database, so that stop and disable work while it is away
        if verb is Verb.DELETE:
            with self.open_store() as store:
                if store.find_task(slug):
                    return
        if (self.folders.tasks / slug).is_dir():
            raise TaskNotBuilt(f"task {slug!r} has not been built: run `keiji task build {slug}` first")
        raise NoSuchTask(f"there is no task {slug!r}; `keiji task list` shows all")

    def _check_outside(self, slug: str, verb: Verb) -> None:
        """A run that ends itself by a directive would end this process in the middle of it, too."""
        if verb in (Verb.STOP, Verb.RESTART, Verb.DELETE) and self._is_inside(slug):
            raise TaskBusy(
                f"{verb} was asked for from inside a run of task {slug!r}: let the function return instead"
            )

    def _is_inside(self, slug: str) -> bool:
        entry = running.running_entry(self.folders, slug)
        return entry is not None and entry.id == os.environ.get("INVOCATION_ID")

    def _end_run(self, slug: str) -> str:
        """End the run in progress on purpose; its id, or empty when nothing ran."""
        entry = running.running_entry(self.folders, slug)
        ending = self.host.ending(slug)
        self.folders.requested(slug).unlink(missing_ok=True)
        if not entry and not ending.is_active:
            return ""
        run = entry.id if entry else ending.run
        # Says that what happens to the run is meant. Left behind when this is interrupted: the run ends
        # all the same, and whoever judges it must know.
        intent = self.folders.stopping(slug)
        files.write(intent, run + "\n")
        self.host.stop_run(slug)
        late = running.running_entry(self.folders, slug)
        if late:  # it ignored SIGTERM and could not speak any more
            running.end_run(self.folders, slug, late.id, Result.STOPPED)
        elif not entry and run and not (self.folders.done / run).exists():
            running.write_unborn(self.folders, slug, run, Result.STOPPED, "stopped before it began")
        intent.unlink(missing_ok=True)
        self.host.forget_failure(slug)
        return run

    def _arm_where_due(self, slug: str) -> str:
        """Arm the timer if the system is started and the task neither disabled nor held; what was done."""
        if not self.host.is_enabled(slug):
            return "it is disabled, so it is not armed"
        if self.folders.held(slug).exists():
            return f"it is held until `keiji task resolve {slug}`, so it is not armed"
        if not self.host.is_started():
            return "it will be armed by `keiji system start`"
        self.host.forget_failure(slug)
        if self.host.arm([slug]) and not self.folders.held(slug).exists():
            raise HostFailed(
                f"the timer of {slug!r} did not come to wait for a time: see `keiji system logs --scheduler`"
            )
        elapse = None if self.host.is_polled(slug) else self.host.timers([slug])[slug].next_elapse
        return f"armed, next time {elapse.astimezone().isoformat()}" if elapse else "armed"

    def _own_files(self, slug: str) -> list[Path]:
        folders = self.folders
        return [
            folders.requested(slug),
            folders.stopping(slug),
            folders.held(slug),
            folders.last(slug),
            folders.stale(slug),
            folders.running(slug),
        ]
