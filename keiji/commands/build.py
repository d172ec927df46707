"""`keiji task build`: from the author's folder to an armed timer.

Each task goes through all of it under its lock: snapshot, unit files, record. What concerns the
manager is done once for all of them at the end: one reload, one start of the timers. A step that
fails puts back what the task had before.
"""

from __future__ import annotations

import sys
import uuid
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keiji import arming, environment, files, marks, output, recovery, workspace
from keiji import build as building
from keiji.build import Built
from keiji.directives import Directive, Verb
from keiji.errors import HostFailed, KeijiError
from keiji.evaluating import Evaluator
from keiji.locks import allow_many, task_lock
from keiji.schedule import Schedule
from keiji.session import Session
from keiji.task import Task, slug_of

if TYPE_CHECKING:
    from keiji.store import Store


@dataclass(frozen=True)
class Tools:
    """What all builds of one command share."""

    environment: environment.Environment
    evaluator: Evaluator
    stock: building.Stock


@dataclass
class Change:
    """What a build did to one task, and what it takes to undo it."""

    built: Built
    task: Task
    was: dict[Path, str | None] = field(default_factory=dict)  # the unit files that differ, before
    record: Task | None = None  # the stored record before
    is_new: bool = False

    @property
    def slug(self) -> str:
        return self.built.slug


def build(session: Session, name: str | None, restart: bool) -> int:
    """Build one task, or all (`name` None); the exit status. With `restart` end the runs in progress."""
    slugs = [slug_of(name)] if name is not None else workspace.task_slugs(session.folders)
    if not slugs:
        output.note("there is no task in the workspace: keiji task create NAME --desc TEXT")
        return 0
    allow_many()
    failures = _build_all(session, slugs, restart)
    for problem in failures:
        output.error(problem.message)
    return failures[0].exit_status if failures else 0


def _build_all(session: Session, slugs: list[str], restart: bool) -> list[KeijiError]:
    failures: list[KeijiError] = []
    changes: list[Change] = []
    made = environment.ensure(session.folders, _progress)
    with ExitStack() as stack:
        store = stack.enter_context(session.store())
        tools = Tools(made, stack.enter_context(Evaluator(made)), building.Stock())
        stored = {task.slug: task for task in store.tasks()}
        try:
            for number, slug in enumerate(slugs, 1):
                _show(number, len(slugs), slug)
                lock = ExitStack()
                try:
                    lock.enter_context(task_lock(session.folders, slug))
                    changes.append(_one(session, store, tools, slug, stored.get(slug)))
                    stack.push(lock)
                except KeijiError as problem:
                    lock.close()
                    failures.append(problem)
                except BaseException:
                    lock.close()
                    raise
            idle = _bring_up(session, changes)
        except BaseException:
            _undo(session, store, changes)
            raise
        _undo(session, store, [change for change in changes if change.slug in idle])
    kept = [change for change in changes if change.slug not in idle]
    _tell(session, kept, restart)
    return failures + [
        HostFailed(f"the timer of {slug!r} did not come to wait for a time: its last build is back")
        for slug in idle
    ]


def _one(session: Session, store: Store, tools: Tools, slug: str, record: Task | None) -> Change:
    """Build one task up to its record; raises with everything as it was."""
    host, folders = session.host, session.folders
    if recovery.finish_directive(folders, host, slug, session.store):
        record = None

    def firing(schedule: Schedule, slug: str) -> dict[str, Any]:
        located = schedule.in_zone(session.settings.time_zone)
        host.check(located)
        return host.firing(located, slug)

    built = building.build(
        folders, session.settings, slug, tools.evaluator, tools.environment, firing, tools.stock
    )
    task = Task(
        name=built.name,
        description=built.description,
        schedule=built.schedule,
        build=built.hash,
        host=record.host if record else store.host,
        task_id=record.task_id if record else str(uuid.uuid4()),
        id=record.id if record else None,
        last_execution=record.last_execution if record else None,
    )
    change = Change(built, task, record=record, is_new=not host.is_installed(slug))
    try:
        located = task.evolve(schedule=task.schedule.in_zone(session.settings.time_zone))
        if change.is_new:
            # Before its timer: a build that is killed between the two must not leave it disabled.
            host.set_enabled(slug, True)
        change.was = arming.write_units(folders, slug, host.render(located, built.command))
        building.swap(folders, slug, built.hash)
        if record != task or str(record.schedule) != str(task.schedule):
            change.task = store.save_task(task)
    except BaseException:
        _undo(session, store, [change])
        raise
    return change


def _bring_up(session: Session, changes: list[Change]) -> list[str]:
    """Tell the manager, once for all; the tasks that it would not wait for."""
    new = [change.slug for change in changes if change.is_new]
    slugs = [change.slug for change in changes]
    idle = arming.bring_up(session.folders, session.host, slugs, new)
    told = [change for change in changes if change.slug not in idle and (change.was or change.built.changed)]
    timers = session.host.timers([change.slug for change in told])
    for change in told:
        polled = session.host.is_polled(change.slug)
        elapse = None if polled else output.moment(timers[change.slug].next_elapse, session.settings.zone)
        session.host.log(
            change.slug,
            "INFO",
            f"build {change.built.hash}" + (f": armed, next time {elapse}" if elapse else ""),
        )
    return idle


def _undo(session: Session, store: Store, changes: list[Change]) -> None:
    """Put back what each task had before, as far as manager and database let it."""
    for change in changes:
        if change.was:
            marks.mark(session.folders, change.slug)
        for path, text in change.was.items():
            if text is None:
                path.unlink(missing_ok=True)
            else:
                files.write(path, text, mode=0o644)
        building.swap_back(session.folders, change.built)
    new = [change.slug for change in changes if change.is_new]
    for slug in new:
        session.host.set_enabled(slug, False)
    with suppress(KeijiError):
        session.host.disarm(new)
        # Those that had a timer before get it back; a mark that stays has the next build try again.
        arming.bring_up(session.folders, session.host, [change.slug for change in changes])
    for slug in new:
        marks.unmark(session.folders, slug)
    with suppress(KeijiError):
        for change in changes:
            if change.record:
                store.save_task(change.record)
            else:
                store.delete_task(change.slug)


def _tell(session: Session, changes: list[Change], restart: bool) -> None:
    for change in changes:
        if restart:
            output.say(session.send(Directive(Verb.RESTART, change.slug)).message)
        building.prune(session.folders, change.slug)
    if len(changes) == 1:
        (change,) = changes
        word = "built" if change.built.changed else "unchanged"
        output.say(f"{change.slug}: {word} ({change.built.hash}), {_state(session, change.slug)}")
    elif changes:
        fresh = sum(change.built.changed for change in changes)
        output.say(f"{fresh} built, {len(changes) - fresh} unchanged")


def _state(session: Session, slug: str) -> str:
    timer = session.host.timers([slug])[slug]
    if timer.is_active:
        polled = session.host.is_polled(slug)
        elapse = None if polled else output.moment(timer.next_elapse, session.settings.zone)
        return f"armed, next time {elapse}" if elapse else "armed"
    if session.folders.held(slug).exists():
        return f"held: `keiji task resolve {slug}` lets it run"
    if not session.host.is_enabled(slug):
        return f"disabled: `keiji task enable {slug}` lets it run"
    return "not armed: `keiji system start` arms it"


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        output.note(line)


def _show(number: int, total: int, slug: str) -> None:
    """Progress of a long build, on a terminal."""
    if total > 1 and sys.stderr.isatty():
        end = "\n" if number == total else ""
        print(f"\r\x1b[Kbuilding {number}/{total} {slug}", end=end, file=sys.stderr, flush=True)
