"""`keiji system start|stop|restart|status`, with the host in memory."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from commanding import Place
from recording import an_entry

from keiji.commands import system
from keiji.errors import BusUnavailable, HostFailed
from keiji.run import Result
from keiji.session import Session

Out = pytest.CaptureFixture[str]


@pytest.fixture
def stopped(place: Place) -> Place:
    """A stopped system with a task that is due, one that is held and one that is disabled."""
    place.host.stop_system()
    for name in ("ping", "held", "disabled"):
        place.add(name)
    place.hold("held")
    place.host.set_enabled("disabled", False)
    return place


def test_start_arms_every_task_that_is_neither_held_nor_disabled(stopped: Place, capsys: Out) -> None:
    system.start(stopped.session, None)

    assert stopped.host.armed == {"ping"}
    assert capsys.readouterr().out == "scheduler is started: 1 task armed\n"
    assert not stopped.host.bus_runs


def test_starting_twice_changes_nothing(stopped: Place, capsys: Out) -> None:
    system.start(stopped.session, None)
    before = stopped.state()
    capsys.readouterr()

    system.start(stopped.session, None)

    assert stopped.state() == before
    assert "already" in capsys.readouterr().out


def test_start_names_the_tasks_that_did_not_come_to_wait(stopped: Place) -> None:
    stopped.add("deaf")
    stopped.host.deaf.add("deaf")

    with pytest.raises(HostFailed, match="deaf"):
        system.start(stopped.session, None)

    assert stopped.host.armed == {"ping"}


def test_start_clears_what_a_power_cut_left(stopped: Place) -> None:
    stopped.begin(an_entry(task="ping", boot="the boot before"))

    system.start(stopped.session, None)

    assert not stopped.folders.running("ping").exists()
    (record,) = stopped.folders.done.iterdir()
    assert f"result={Result.KILLED}\n" in record.read_text()


def test_start_tells_what_keeps_tasks_from_running_here(
    stopped: Place, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopped.host, "advice", lambda: ["no linger: loginctl enable-linger"])

    system.start(stopped.session, None)

    assert capsys.readouterr().err == "note: no linger: loginctl enable-linger\n"


def test_stop_disarms_all_and_forgets_nothing(place: Place) -> None:
    place.add()
    before = place.state()

    system.stop(place.session, None)

    assert not place.host.is_started()
    assert place.state() == {**before, "armed": set()}


def test_stop_says_which_runs_go_on(place: Place, capsys: Out) -> None:
    place.add()
    run = an_entry(pid=os.getpid())
    place.begin(run)

    system.stop(place.session, None)

    assert f"{run.id} of ping" in capsys.readouterr().err
    assert place.folders.running("ping").exists()


def test_restart_arms_anew(place: Place) -> None:
    place.add()
    place.host.armed.clear()

    system.restart(place.session, None)

    assert (place.host.armed, place.host.is_started()) == ({"ping"}, True)


@pytest.mark.parametrize(("started", "word"), [(True, "ONLINE"), (False, "OFFLINE")])
def test_status_is_the_documented_table(place: Place, capsys: Out, started: bool, word: str) -> None:
    if not started:
        place.host.stop_system()

    system.status(place.session, None)

    rule = "======== SERVICES ========"
    head, names, bus, scheduler, foot = capsys.readouterr().out.splitlines()
    assert (head, names, foot) == (rule, "NAME               STATUS", rule)
    assert bus.startswith("bus                ")
    assert scheduler == f"scheduler          {word}"


def test_status_of_one_part_shows_that_part(place: Place, capsys: Out) -> None:
    system.status(place.session, system.SCHEDULER)

    said = capsys.readouterr().out
    assert "scheduler" in said
    assert "bus" not in said


def test_status_starts_nothing(stopped: Place) -> None:
    before = stopped.state()

    system.status(stopped.session, None)

    assert stopped.state() == before
    assert not stopped.host.is_started()


# the bus


def test_the_bus_alone_is_started_at_once(stopped: Place, capsys: Out) -> None:
    stopped.host.stop_bus(stay=True)

    system.start(stopped.session, system.BUS)

    assert stopped.host.bus_runs
    assert stopped.host.armed == set()
    assert capsys.readouterr().out == "bus is started\n"


def test_a_bus_that_can_not_start_says_so_at_once(place: Place) -> None:
    place.host.faults["start_bus"] = BusUnavailable("the bus does not start")

    with pytest.raises(BusUnavailable, match="does not start"):
        system.start(place.session, system.BUS)


@pytest.mark.parametrize("start", [system.start, system.restart])
def test_a_bus_that_was_started_and_does_not_answer_says_where_to_look(
    place: Place, monkeypatch: pytest.MonkeyPatch, start: Callable[[Session, str], None]
) -> None:
    monkeypatch.setattr(place.host, "is_bus_answering", lambda: False)
    monkeypatch.setattr(system, "_PATIENCE", 0.0)

    with pytest.raises(BusUnavailable, match="`keiji system logs --bus`"):
        start(place.session, "bus")


def test_start_lets_a_stopped_bus_be_called_and_starts_no_process(stopped: Place, capsys: Out) -> None:
    stopped.host.stop_bus(stay=True)

    system.start(stopped.session, None)

    assert (stopped.host.bus_stays_down, stopped.host.bus_runs) == (False, False)
    assert capsys.readouterr().out.startswith("bus is started: it runs when it is called\n")


def test_stop_ends_the_bus_after_the_scheduler_and_keeps_it_down(place: Place, capsys: Out) -> None:
    place.host.start_bus()

    system.stop(place.session, None)

    assert (place.host.bus_stays_down, place.host.bus_runs) == (True, False)
    scheduler, bus = capsys.readouterr().out.splitlines()
    assert scheduler == "scheduler is stopped: nothing begins until `keiji system start`"
    assert bus == "bus is stopped: it takes no directives until `keiji system start`"


def test_the_bus_alone_is_stopped(place: Place, capsys: Out) -> None:
    system.stop(place.session, system.BUS)

    assert place.host.is_started()
    assert place.host.bus_stays_down
    said = capsys.readouterr().out
    assert said == "bus is stopped: it takes no directives until `keiji system start --bus`\n"


def test_the_scheduler_alone_is_stopped_and_started(place: Place, capsys: Out) -> None:
    place.host.start_bus()

    system.stop(place.session, system.SCHEDULER)
    system.start(place.session, system.SCHEDULER)
    system.restart(place.session, system.SCHEDULER)

    assert place.host.bus_runs
    assert "bus" not in capsys.readouterr().out


@pytest.mark.parametrize("part", [None, system.BUS])
def test_what_is_done_twice_is_done_already(place: Place, capsys: Out, part: str | None) -> None:
    for verb in (system.stop, system.start):
        verb(place.session, part)
        assert "already" not in capsys.readouterr().out

        verb(place.session, part)

        assert "already" in capsys.readouterr().out


def test_a_restarted_bus_runs_though_it_was_stopped(place: Place, capsys: Out) -> None:
    place.host.stop_bus(stay=True)

    system.restart(place.session, system.BUS)

    assert place.host.bus_runs
    assert capsys.readouterr().out == "bus is restarted\n"


@pytest.mark.parametrize("runs", [True, False])
def test_a_restart_of_all_ends_the_bus_which_comes_back_when_it_is_called(
    place: Place, capsys: Out, runs: bool
) -> None:
    if runs:
        place.host.start_bus()

    system.restart(place.session, None)

    assert (place.host.bus_runs, place.host.is_bus_answering()) == (False, True)
    assert ("bus has ended" in capsys.readouterr().out) is runs


@pytest.mark.parametrize(("stopped_bus", "word"), [(False, "ONLINE"), (True, "OFFLINE")])
def test_the_bus_is_online_when_a_call_would_be_answered(
    place: Place, capsys: Out, stopped_bus: bool, word: str
) -> None:
    if stopped_bus:
        place.host.stop_bus(stay=True)

    system.status(place.session, system.BUS)

    assert capsys.readouterr().out.splitlines()[2] == f"bus                {word}"
    assert not place.host.bus_runs
