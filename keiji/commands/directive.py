"""The commands that change a task: send a directive, print the reply."""

from __future__ import annotations

from keiji import output
from keiji.directives import Directive, Verb
from keiji.session import Session


def send(session: Session, verb: Verb, name: str) -> None:
    """Have `verb` done to the task and say what happened."""
    output.say(session.send(Directive(verb, name)).message)
