"""The one `Dispatcher` that carries out directives.

It alone changes the manager, the latch and the record, one directive of a task after another (a lock a
task). One that cannot be carried out changes nothing, and what one that was killed left half-done is brought
into agreement by the next. It knows nothing of how a directive came: transports and tests call
`Dispatcher.send`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timezone, tzinfo
from typing import TYPE_CHECKING

from keiji import (
    deleting,
    files,
    latches,
    ledger,
    lifecycle,
    marks,
    output,
    recovery,
    running,
    settings,
    states,
    stopping,
    verdict,
)
from keiji.changing import changing
from keiji.directives import Directive, Reply, Verb
from keiji.errors import HostFailed, KeijiError, NoSuchTask, TaskBusy, TaskHeld, TaskNotBuilt
from keiji.folders import Folders
from keiji.host import Host
from keiji.lifecycle import Life
from keiji.locks import task_lock
from keiji.task import slug_of

if TYPE_CHECKING:
    from keiji.store import Store

_REFUSALS: dict[type[KeijiError], str] = {
    NoSuchTask: "there is no task {slug!r}; `keiji task list` shows all",
    TaskNotBuilt: "task {slug!r} has not been built: run `keiji task build {slug}` first",
    TaskHeld: "task {slug!r} is held after a failure: see `keiji task logs {slug}`, "
    "then `keiji task resolve {slug}`",
    TaskBusy: "a run of task {slug!r} is in progress{run}",
}


class Dispatcher:
    """Carries out directives on one host, in as many threads as there are.

    `open_store` is called only by those that need the database.
    """

    def __init__(self, folders: Folders, host: Host, open_store: Callable[[], Store]) -> None:
        self.folders = folders
        self.host = host
        self.open_store = open_store

    def send(self, directive: Directive) -> Reply:
        """Carry out one directive; raises a `KeijiError` that says why it can't be, with nothing changed."""
        slug, verb = slug_of(directive.task), directive.verb
        handler: Callable[[str, Life, str], Reply] = getattr(self, f"_{verb.value}")
        with _saying_what_failed():
            if not self._is_known(slug, verb):  # before its lock makes a file of any name that is made up
                raise self._refused(NoSuchTask, slug)
            with task_lock(self.folders, slug):
                return self._carry_out(slug, verb, lambda life: handler(slug, life, directive.inside))

    def mend(self, slug: str) -> None:
        """Have the record repeat what is true of the task, if the database can be reached.

        Whoever changes the task meanwhile calls this, too: the last one sees that it agrees.
        """
        with suppress(KeijiError, OSError):
            truth = None
            while self.host.is_installed(slug) and truth != self._truth(slug):
                truth = self._truth(slug)
                with self.open_store() as store:
                    store.mend(slug, *truth)

    # -- the verbs; each holds the task's lock ----------------------------------------------

    def _run(self, slug: str, life: Life, inside: str) -> Reply:
        self._log(slug, "run: asked for by hand")
        with changing(self.folders, self.host, slug, Verb.RUN, life):
            files.write(self.folders.requested(slug), "")
            run = self._start(slug)
        return Reply(f"{slug}: run {run} began", run)

    def _stop(self, slug: str, life: Life, inside: str) -> Reply:
        with changing(self.folders, self.host, slug, Verb.STOP, life):
            run = stopping.end_run(self.folders, self.host, slug)
        self._log(slug, f"stop: {'run ' + run if run else 'nothing was running'}")
        if run:
            return Reply(f"{slug}: run {run} stopped; the schedule goes on", run)
        return Reply(f"{slug}: nothing was running; the schedule goes on")

    def _restart(self, slug: str, life: Life, inside: str) -> Reply:
        with changing(self.folders, self.host, slug, Verb.RESTART, life):
            self.host.disarm([slug])
            self._arm(slug, lifecycle.follow(life, Verb.RESTART))
            run = stopping.end_run(self.folders, self.host, slug)  # last: it can't be undone
        armed = self._tell_armed(slug, life)
        ended = f"run {run} stopped; " if run else ""
        self._log(slug, f"restart: {ended}{armed}")
        return Reply(f"{slug}: {ended}{armed}", run)

    def _enable(self, slug: str, life: Life, inside: str) -> Reply:
        then = lifecycle.follow(life, Verb.ENABLE)
        with changing(self.folders, self.host, slug, Verb.ENABLE, life):
            self.host.set_enabled(slug, True)
            self._arm(slug, then)
        armed = self._tell_armed(slug, then)
        self._log(slug, f"enable: {armed}")
        return Reply(f"{slug}: enabled; {armed}")

    def _disable(self, slug: str, life: Life, inside: str) -> Reply:
        entry = running.running_entry(self.folders, slug)
        is_inside = entry is not None and entry.id == inside
        then = lifecycle.follow(life, Verb.DISABLE, is_inside)
        run = ""
        with changing(self.folders, self.host, slug, Verb.DISABLE, life):
            self.host.set_enabled(slug, False)
            self.host.disarm([slug])
            if not then.is_running:
                run = stopping.end_run(self.folders, self.host, slug)
        ended = f"run {run} stopped; " if run else ""
        self._log(slug, f"disable: {ended}no further run until it is enabled")
        return Reply(f"{slug}: disabled; {ended}no further run until it is enabled", run)

    def _resolve(self, slug: str, life: Life, inside: str) -> Reply:
        if not life.is_held:
            return Reply(f"{slug}: it was not held; nothing changed")
        then = lifecycle.follow(life, Verb.RESOLVE)
        with changing(self.folders, self.host, slug, Verb.RESOLVE, life):
            self.host.forget_failure(slug)  # else the next failure of any task has this one judged again
            self.folders.held(slug).unlink(missing_ok=True)
            self._arm(slug, then)
        armed = self._tell_armed(slug, then)
        self._log(slug, f"resolve: {armed}")
        return Reply(f"{slug}: resolved; {armed}")

    def _delete(self, slug: str, life: Life, inside: str) -> Reply:
        with self.open_store() as store:
            store.check_writable()
            with changing(self.folders, self.host, slug, Verb.DELETE, life):
                run = deleting.delete(self.folders, self.host, slug, store)
        deleting.clear(self.folders, self.host, slug)
        return self._tell_deleted(slug, run)

    # -- parts --------------------------------------------------------------------------------

    def _carry_out(self, slug: str, verb: Verb, work: Callable[[Life], Reply]) -> Reply:
        is_deleted = recovery.recover(self.folders, self.host, slug, self.open_store)
        if is_deleted and verb is Verb.DELETE:  # given again after a crash
            return self._tell_deleted(slug)
        verdict.settle(self.folders, self.host, slug)
        life = self._look(slug, verb)
        refusal = lifecycle.refusal(life, verb)
        if refusal:
            raise self._refused(refusal, slug)
        return work(life)

    def _is_known(self, slug: str, verb: Verb) -> bool:
        """Whether there is anything of that name."""
        if self.host.is_installed(slug):
            return True  # told without the database, so that stop and disable work while it is away
        if (self.folders.tasks / slug).is_dir() or marks.why(self.folders, slug) is not None:
            return True
        return verb is Verb.DELETE and self._is_recorded(slug)

    def _is_recorded(self, slug: str) -> bool:
        with self.open_store() as store:
            return store.find_task(slug) is not None

    def _look(self, slug: str, verb: Verb) -> Life:
        """What is true of the task, as far as the directive has to know."""
        host, folders = self.host, self.folders
        is_built = host.is_installed(slug) or (verb is Verb.DELETE and self._is_recorded(slug))
        is_running, is_queued = running.running_entry(folders, slug) is not None, False
        if verb is Verb.RUN and is_built and not is_running:
            is_running, is_queued = states.run_under_way(folders, host, slug)
        return Life(
            has_source=(folders.tasks / slug).is_dir(),
            is_built=is_built,
            is_enabled=host.is_enabled(slug),
            is_held=folders.held(slug).exists(),
            is_running=is_running,
            is_queued=is_queued,
            is_started=is_built and verb not in (Verb.RUN, Verb.STOP) and host.is_started(),
        )

    def _refused(self, refusal: type[KeijiError], slug: str) -> KeijiError:
        entry = running.running_entry(self.folders, slug)
        return refusal(_REFUSALS[refusal].format(slug=slug, run=f" ({entry.id})" if entry else ""))

    def _start(self, slug: str) -> str:
        """Start a run; its id. Raises `HostFailed` when none began."""
        try:
            run = self.host.start_run(slug)
        except HostFailed:
            ending = self.host.ending(slug)
            if not ending.is_active:
                raise
            run = ending.run
        # A quick run may be over, and its unit forgotten, before the manager is asked for its id.
        return run or ledger.latest_done(self.folders, slug) or self._latest_recorded(slug)

    def _latest_recorded(self, slug: str) -> str:
        with suppress(KeijiError), self.open_store() as store:
            return next((run.id for run in store.runs(slug, 1)), "")
        return ""

    def _arm(self, slug: str, then: Life) -> None:
        """Arm the timer where that is due; raises `HostFailed` when it does not come to wait."""
        if not then.is_armed:
            return
        self.host.forget_failure(slug)
        if self.host.arm([slug]) and not self.folders.held(slug).exists():
            raise HostFailed(
                f"the timer of {slug!r} did not come to wait for a time: see `keiji system logs --scheduler`"
            )

    def _tell_armed(self, slug: str, then: Life) -> str:
        if not then.is_enabled:
            return "it is disabled, so it is not armed"
        if self.folders.held(slug).exists():
            return f"it is held until `keiji task resolve {slug}`, so it is not armed"
        if not then.is_started:
            return "it will be armed by `keiji system start`"
        with suppress(HostFailed):  # all is done
            elapse = None if self.host.is_polled(slug) else self.host.timers([slug])[slug].next_elapse
            return f"armed, next time {output.moment(elapse, self._zone())}" if elapse else "armed"
        return "armed"

    def _zone(self) -> tzinfo:
        """That of the settings: who asked may have another than this process."""
        try:
            return settings.load(self.folders)[0].zone
        except (KeijiError, OSError):  # all is done
            return timezone.utc

    def _tell_deleted(self, slug: str, run: str = "") -> Reply:
        source = self.folders.tasks / slug
        return Reply(f"{slug}: deleted" + (f"; its source stays in {source}" if source.exists() else ""), run)

    def _truth(self, slug: str) -> tuple[bool, str | None]:
        """Whether the task is disabled, and the error that holds it."""
        latch = latches.latch(self.folders, slug)
        return not self.host.is_enabled(slug), latch.error if latch else None

    def _log(self, slug: str, message: str) -> None:
        with suppress(HostFailed, OSError):  # a log that is gone undoes nothing
            self.host.log(slug, "INFO", message)


@contextmanager
def _saying_what_failed() -> Iterator[None]:
    """Turn a file that can't be read or written into one line that names it."""
    try:
        yield
    except OSError as problem:
        raise HostFailed(f"{problem.filename or 'the system'}: {problem.strerror or problem}") from problem
