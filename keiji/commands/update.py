"""`keiji system update`: after an upgrade of keiji, or of the machine's time zones."""

from __future__ import annotations

from contextlib import ExitStack

from keiji import arming, environment, marks, output, recovery
from keiji import build as building
from keiji.errors import KeijiError
from keiji.locks import allow_many, task_lock
from keiji.session import Session
from keiji.task import Task


def update(session: Session, cc: bool) -> int:
    """Migrate the database and render every unit anew: from stored schedules, never from edited sources.

    A task that can't be is named, and the others are brought up to date; the exit status.
    """
    if cc:
        environment.ensure(session.folders, output.note, anew=True)
    if session.host.stop_bus():  # its code is the old one; it has finished what was in flight
        output.say("bus has ended: it runs again, in this version, when it is called")
    with session.store() as store:
        store.migrate()
        tasks = store.tasks()
    own = session.host.install_system()
    allow_many()
    changed, problems = 0, []
    locked: list[str] = []
    stored = {task.slug: task for task in tasks}
    with ExitStack() as locks:
        # Sorted, as a build of all has them: else the two could wait for each other's locks.
        for slug in sorted({*stored, *marks.marked(session.folders)}):
            try:
                locks.enter_context(task_lock(session.folders, slug))
                is_deleted = recovery.finish_directive(session.folders, session.host, slug, session.store)
                if slug in stored and not is_deleted:
                    locked.append(slug)
                    changed += _render(session, stored[slug])
            except KeijiError as problem:
                problems.append(problem.message)
        idle = arming.bring_up(session.folders, session.host, locked)
    problems += [f"the timer of {slug!r} did not come to wait for a time" for slug in idle]
    output.say(f"updated: {len(own)} of keiji's own units, {changed} of {len(tasks)} tasks' units changed")
    for message in problems:
        output.error(message)
    return 1 if problems else 0


def _render(session: Session, task: Task) -> bool:
    """Write the task's units where they differ; whether they did."""
    located = task.evolve(schedule=task.schedule.in_zone(session.settings.time_zone))
    command = building.command(session.folders, task.slug)
    return bool(arming.write_units(session.folders, task.slug, session.host.render(located, command)))
