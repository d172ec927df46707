"""`keiji system start|stop|restart|status`: all of keiji, or one part."""

from __future__ import annotations

from keiji import output, running
from keiji.errors import HostFailed, UnsupportedHere
from keiji.session import Session

SCHEDULER = "scheduler"
BUS = "bus"


def start(session: Session, part: str | None) -> None:
    """Arm every enabled task that is not held, now and at each boot."""
    _refuse_bus(part)
    running.clear_leftovers(session.folders, session.host.boot())
    was_started = session.host.is_started()
    armed, idle = session.host.start_system()
    already = " already" if was_started else ""
    output.say(f"scheduler is{already} started: {_tasks(len(armed))} armed")
    for line in session.host.advice():
        output.note(line)
    if idle:
        raise HostFailed(f"these tasks did not come to wait for a time: {', '.join(idle)}")


def stop(session: Session, part: str | None) -> None:
    """Stop the timers; runs in progress finish."""
    _refuse_bus(part)
    session.host.stop_system()
    output.say("scheduler is stopped: nothing begins until `keiji system start`")
    for entry in running.running(session.folders):
        output.note(f"run {entry.id} of {entry.task} goes on to its end")


def restart(session: Session, part: str | None) -> None:
    """Stop, then start."""
    _refuse_bus(part)
    session.host.stop_system()
    start(session, part)


def status(session: Session, part: str | None) -> None:
    """Print which services are online; starts none."""
    services = {BUS: False, SCHEDULER: session.host.is_started()}
    rule = "======== SERVICES ========"
    output.say(rule)
    output.say(f"{'NAME':<19}STATUS")
    for name, is_online in services.items():
        if part in (None, name):
            output.say(f"{name:<19}{'ONLINE' if is_online else 'OFFLINE'}")
    output.say(rule)


def _refuse_bus(part: str | None) -> None:
    # Directives are carried out in the command's own process until there is a bus service.
    if part == BUS:
        raise UnsupportedHere("this version of keiji has no bus service yet; nothing changed")


def _tasks(number: int) -> str:
    return f"{number} task" if number == 1 else f"{number} tasks"
