"""The commands that change a task: send a directive, print the reply."""

from __future__ import annotations

from keiji import output
from keiji.directives import Directive, Verb
from keiji.session import Session


def send(session: Session, verb: Verb, name: str) -> None:
    """Have `verb` done to the task and say what happened."""
    try:
        reply = session.send(Directive(verb, name))
    except KeyboardInterrupt:  # the bus has it by now, or never will
        output.note(f"the bus may {verb.value} it all the same; `keiji task list` shows what is true")
        raise
    output.say(reply.message)
