"""`keiji task build`: from the author's folder to an armed timer.

Each task goes through all of it under its lock: snapshot, unit files, record. What concerns the
manager is done once for all of them at the end: one reload, one start of the timers. A step that
fails puts back what the task had before.
"""

from __future__ import annotations

import resource
import sys
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keiji import build as building
from keiji import environment, files, output, workspace
from keiji.build import Built
from keiji.directives import Directive, Verb
from keiji.errors import HostFailed, KeijiError
from keiji.evaluating import Evaluator
from keiji.host import Rendered
from keiji.locks import task_lock
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
    was: dict[Path, str | None] = field(default_factory=dict)  # unit files before
    record: Task | None = None  # the stored record before
    is_new: bool = False
    units_changed: bool = False

    @property
    def slug(self) -> str:
        return self.built.slug


def build(session: Session, name: str | None, restart: bool) -> int:
    """Build one task, or all (`name` None); the exit status. With `restart` end the runs in progress."""
    slugs = [slug_of(name)] if name is not None else workspace.task_slugs(session.folders)
    if not slugs:
        output.note("there is no task in the workspace: keiji task create NAME --desc TEXT")
        return 0
    _allow_many_files()
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
                _undo(session, store, changes)
                raise
        try:
            failures += _arm(session, store, changes)
        except BaseException:
            _undo(session, store, changes)
            raise
    _tell(session, changes, restart)
    return failures


def _one(session: Session, store: Store, tools: Tools, slug: str, record: Task | None) -> Change:
    """Build one task up to its record; raises with everything as it was."""
    host, folders = session.host, session.folders

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
        _install(session, change, host.render(located, built.command))
        building.swap(folders, slug, built.hash)
        if record != task or str(record.schedule) != str(task.schedule):
            change.task = store.save_task(task)
    except BaseException:
        _undo(session, store, [change])
        raise
    return change


def _install(session: Session, change: Change, rendered: Rendered) -> None:
    for path, text in rendered.items():
        change.was[path] = files.read(path)
        if change.was[path] != text:
            change.units_changed = True
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, text, mode=0o644)
    if change.is_new:
        session.host.set_enabled(change.slug, True)


def _arm(session: Session, store: Store, changes: list[Change]) -> list[KeijiError]:
    """Tell the manager, once for all; what it refuses is put back."""
    host = session.host
    re_read = [change for change in changes if change.units_changed and not change.is_new]
    if re_read:
        # A changed timer that stays active through the reload may find a time of its new schedule
        # in the past and fire at once.
        host.disarm([change.slug for change in re_read])
        host.reload()
    if not host.is_started():
        return []
    due = [change for change in changes if _is_due(session, change)]
    waiting = host.timers([change.slug for change in due])
    idle = [change for change in due if not waiting[change.slug].is_active]
    try:
        host.arm([change.slug for change in idle])
    except HostFailed as problem:
        _undo(session, store, idle)
        return [problem]
    for change in idle:
        elapse = host.timers([change.slug])[change.slug].next_elapse if len(idle) == 1 else None
        at = f", next time {output.moment(elapse, session.settings.zone)}" if elapse else ""
        host.log(change.slug, "INFO", f"build {change.built.hash}: armed{at}")
    return []


def _is_due(session: Session, change: Change) -> bool:
    return session.host.is_enabled(change.slug) and not session.folders.held(change.slug).exists()


def _undo(session: Session, store: Store, changes: list[Change]) -> None:
    """Put back what each task had before."""
    for change in changes:
        if change.is_new:
            session.host.disarm([change.slug])
            session.host.set_enabled(change.slug, False)
        for path, text in change.was.items():
            if text is None:
                path.unlink(missing_ok=True)
            elif files.read(path) != text:
                files.write(path, text, mode=0o644)
        building.swap_back(session.folders, change.built)
        if change.record:
            store.save_task(change.record)
        else:
            store.delete_task(change.slug)
    if any(change.units_changed for change in changes):
        session.host.reload()


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
        elapse = output.moment(timer.next_elapse, session.settings.zone)
        return f"armed, next time {elapse}" if elapse else "armed"
    if session.folders.held(slug).exists():
        return f"held: `keiji task resolve {slug}` lets it run"
    if not session.host.is_enabled(slug):
        return f"disabled: `keiji task enable {slug}` lets it run"
    return "not armed: `keiji system start` arms it"


def _allow_many_files() -> None:
    # A lock is held for each task until all are armed.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard) if hard > 0 else 65536, hard))


def _progress(line: str) -> None:
    output.note(line)


def _show(number: int, total: int, slug: str) -> None:
    """Progress of a long build, on a terminal."""
    if total > 1 and sys.stderr.isatty():
        end = "\n" if number == total else ""
        print(f"\r\x1b[Kbuilding {number}/{total} {slug}", end=end, file=sys.stderr, flush=True)
