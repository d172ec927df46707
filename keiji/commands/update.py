"""`keiji system update`: after an upgrade of keiji, or of the machine's time zones."""

from __future__ import annotations

from keiji import build as building
from keiji import environment, files, output
from keiji.errors import KeijiError
from keiji.locks import task_lock
from keiji.session import Session
from keiji.task import Task


def update(session: Session, cc: bool) -> None:
    """Migrate the database and render every unit anew: from stored schedules, never from edited sources."""
    if cc:
        environment.ensure(session.folders, output.note, anew=True)
    with session.store() as store:
        store.migrate()
        tasks = store.tasks()
    own = session.host.install_system()
    changed = [task.slug for task in tasks if _render(session, task)]
    if changed:
        _arm_again(session, changed)
    output.say(
        f"updated: {len(own)} of keiji's own units, {len(changed)} of {len(tasks)} tasks' units changed"
    )


def _render(session: Session, task: Task) -> bool:
    """Write the task's units where they differ; whether they did."""
    with task_lock(session.folders, task.slug):
        if not session.host.is_installed(task.slug):
            return False
        located = task.evolve(schedule=task.schedule.in_zone(session.settings.time_zone))
        command = building.command(session.folders, task.slug)
        differ = False
        for path, text in session.host.render(located, command).items():
            if files.read(path) != text:
                files.write(path, text, mode=0o644)
                differ = True
        return differ


def _arm_again(session: Session, slugs: list[str]) -> None:
    host = session.host
    armed = [slug for slug, timer in host.timers(slugs).items() if timer.is_active]
    host.disarm(armed)
    host.reload()
    try:
        host.arm(armed)
    except KeijiError as problem:
        output.error(problem.message)
        raise
