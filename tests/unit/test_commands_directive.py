"""The commands that send a directive, interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from commanding import Place

from keiji.commands.directive import send
from keiji.commands.run import run_now
from keiji.directives import Directive, Reply, Verb
from keiji.session import Session


class Slow:
    """A bus that lasts longer than the person's patience."""

    def send(self, directive: Directive) -> Reply:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (lambda session: send(session, Verb.STOP, "ping"), "the bus may stop it all the same"),
        (lambda session: run_now(session, "ping"), "`keiji task stop ping` ends it"),
    ],
)
def test_who_no_longer_waits_for_the_bus_is_told_that_it_may_go_on(
    place: Place, capsys: pytest.CaptureFixture[str], command: Callable[[Session], object], said: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        command(replace(place.session, bus=Slow()))

    printed = capsys.readouterr()
    assert said in printed.err
    assert not printed.out
