"""`keiji system start|stop|restart|status`: all of keiji, or one part."""

from __future__ import annotations

import time

from keiji import output, running
from keiji.errors import BusUnavailable, HostFailed
from keiji.session import Session

SCHEDULER = "scheduler"
BUS = "bus"
_PATIENCE = 20.0  # seconds in which a bus that was started must answer
_LOOK = 0.05


def start(session: Session, part: str | None) -> None:
    """Arm every enabled task that is not held, now and at each boot; let the bus be started by a call.

    The bus alone is started at once, which tells whether it can be.
    """
    if part == BUS:
        was_answering = session.host.is_bus_answering()
        session.host.allow_bus()
        _start_bus(session)
        output.say(f"bus is{' already' if was_answering else ''} started")
        return
    if part is None and session.host.allow_bus():
        output.say("bus is started: it runs when it is called")
    _start_scheduler(session)


def stop(session: Session, part: str | None) -> None:
    """Stop the timers, runs in progress finish; end the bus and keep it down, what is in flight finishes."""
    if part != BUS:
        _stop_scheduler(session)
    if part != SCHEDULER:
        was_answering = session.host.is_bus_answering()
        ran = session.host.stop_bus(stay=True)
        already = "" if ran or was_answering else " already"
        output.say(f"bus is{already} stopped: it takes no directives until `{_start_again(part)}`")


def restart(session: Session, part: str | None) -> None:
    """Stop, then start."""
    if part == BUS:
        session.host.stop_bus()
        session.host.allow_bus()
        _start_bus(session)
        output.say("bus is restarted")
        return
    session.host.stop_system()
    if part is None and session.host.stop_bus():
        output.say("bus has ended: it runs again when it is called")
    start(session, part)


def status(session: Session, part: str | None) -> None:
    """Print which services are online; starts none."""
    services = {BUS: session.host.is_bus_answering, SCHEDULER: session.host.is_started}
    found = {name: is_online() for name, is_online in services.items() if part in (None, name)}
    rule = "======== SERVICES ========"
    output.say(rule)
    output.say(f"{'NAME':<19}STATUS")
    for name, is_up in found.items():
        output.say(f"{name:<19}{'ONLINE' if is_up else 'OFFLINE'}")
    output.say(rule)


def _start_bus(session: Session) -> None:
    """Start the bus and wait until it answers: not every manager does."""
    session.host.start_bus()
    deadline = time.monotonic() + _PATIENCE
    while not session.host.is_bus_answering():
        if time.monotonic() > deadline:
            raise BusUnavailable("the bus was started and does not answer: see `keiji system logs --bus`")
        time.sleep(_LOOK)


def _start_scheduler(session: Session) -> None:
    running.clear_leftovers(session.folders, session.host.boot())
    was_started = session.host.is_started()
    armed, idle = session.host.start_system()
    already = " already" if was_started else ""
    output.say(f"scheduler is{already} started: {_tasks(len(armed))} armed")
    for line in session.host.advice():
        output.note(line)
    if idle:
        raise HostFailed(f"these tasks did not come to wait for a time: {', '.join(idle)}")


def _stop_scheduler(session: Session) -> None:
    already = "" if session.host.is_started() else " already"
    session.host.stop_system()
    output.say(f"scheduler is{already} stopped: nothing begins until `keiji system start`")
    for entry in running.running(session.folders):
        output.note(f"run {entry.id} of {entry.task} goes on to its end")


def _start_again(part: str | None) -> str:
    return "keiji system start --bus" if part == BUS else "keiji system start"


def _tasks(number: int) -> str:
    return f"{number} task" if number == 1 else f"{number} tasks"
