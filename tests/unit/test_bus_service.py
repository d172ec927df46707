"""Starting, stopping and judging the bus service, with stand-ins for systemctl, busctl and journalctl."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from standing_in import LOADED, RUN, Programs

from keiji.errors import BusUnavailable, HostFailed
from keiji.systemd import bus_service, bus_unit


@pytest.fixture
def programs(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(bus_service, "_JOURNAL_PATIENCE", 0.2)
    monkeypatch.setattr(bus_service, "_PAUSE", 0.01)
    return programs


def entry(message: str, run: str = RUN, at: int = 4_000_000_000) -> str:
    fields = {"MESSAGE": message, "_SYSTEMD_INVOCATION_ID": run, "__REALTIME_TIMESTAMP": f"{at}000000"}
    return json.dumps(fields) + "\n"


# would a call be answered?


def test_an_idle_service_would_answer_and_is_not_called(programs: Programs) -> None:
    assert bus_service.is_answering()
    assert not programs.asked("Ping")
    assert not programs.asked("start")


@pytest.mark.parametrize(("status", "answers"), [(0, True), (1, False)])
def test_who_has_the_name_must_answer_now(programs: Programs, status: int, answers: bool) -> None:
    programs.bus_has_owner(True)
    programs.answer("Ping", status)

    assert bus_service.is_answering() is answers

    (call,) = programs.asked("Ping")
    assert "--auto-start=no" in call
    assert "--timeout=" in call


def test_without_a_session_bus_nobody_answers(programs: Programs) -> None:
    programs.answer("NameHasOwner", 1, complaint="Failed to connect to bus\n")

    assert not bus_service.is_answering()


def test_on_a_session_bus_that_is_frozen_nobody_answers(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "busctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(bus_service, "_DAEMON_PATIENCE", 0.2)

    assert not bus_service.is_answering()


@pytest.mark.parametrize(
    ("unit", "answers"),
    [
        ({"LoadState": "not-found"}, False),
        ({"LoadState": "masked"}, False),
        ({"LoadState": "bad-setting"}, False),
        ({"ExecStart": "{ path=/nowhere/python ; argv[]=/nowhere/python -m x }"}, False),
        ({"ExecStart": ""}, False),
        ({"ActiveState": "deactivating"}, True),
        ({"ActiveState": "failed", "Result": "exit-code"}, False),
        ({"ActiveState": "failed", "Result": "timeout"}, False),
        ({"ActiveState": "failed", "Result": "protocol"}, False),
        ({"ActiveState": "failed", "Result": "signal"}, True),
        # it had come up
        ({"ActiveState": "failed", "Result": "exit-code", "ActiveEnterTimestampMonotonic": "8"}, True),
        ({"ActiveState": "failed", "Result": "timeout", "ActiveEnterTimestampMonotonic": "8"}, True),
    ],
)
def test_a_service_that_does_not_run_is_judged_by_its_unit(
    programs: Programs, unit: dict[str, str], answers: bool
) -> None:
    programs.unit_is(**{"InactiveExitTimestampMonotonic": "7", **unit})

    assert bus_service.is_answering() is answers


def test_a_service_that_was_stopped_to_stay_down_would_not_answer(programs: Programs) -> None:
    bus_unit.mask_path().parent.mkdir(parents=True)
    bus_unit.mask_path().symlink_to("/dev/null")

    assert not bus_service.is_answering()


def test_the_files_in_use_are_unit_and_drop_ins(programs: Programs) -> None:
    programs.unit_is(DropInPaths="/a/x.conf /b/y.conf")

    assert bus_service.used_files() == [LOADED["FragmentPath"], "/a/x.conf", "/b/y.conf"]
    programs.unit_is(LoadState="not-found", FragmentPath="")
    assert bus_service.used_files() == []


# starting


def test_a_start_takes_one_call(programs: Programs) -> None:
    bus_service.start()

    assert programs.calls() == ["systemctl --user start -- io.keiji.Bus1.service"]


def test_a_stopped_service_is_not_started(programs: Programs) -> None:
    bus_service.stop(stay=False)
    bus_unit.mask_path().parent.mkdir(parents=True)
    bus_unit.mask_path().symlink_to("/dev/null")

    with pytest.raises(BusUnavailable, match="keiji system start --bus"):
        bus_service.start()

    assert not programs.asked("start")


def test_a_failed_start_tells_the_last_three_lines_of_the_service_itself(programs: Programs) -> None:
    programs.answer("start", 1, complaint="Job failed\n")
    programs.unit_is(ActiveState="failed", InvocationID=RUN)
    lines = [entry("an older try", "b" * 32), *(entry(word) for word in ("one", "two", "three", "four"))]
    programs.answer("journalctl", said="".join(lines) + entry("Failed with result", "c" * 32))

    with pytest.raises(BusUnavailable) as told:
        bus_service.start()

    assert told.value.message.splitlines() == [
        "the bus does not start:",
        *("  two", "  three", "  four"),
        "`keiji system logs --bus` shows more",
    ]


def test_where_the_service_said_nothing_the_manager_s_new_lines_are_told(programs: Programs) -> None:
    programs.answer("start", 1, complaint="Job failed\n")
    programs.unit_is(ActiveState="failed", InvocationID=RUN)
    programs.answer("journalctl", said=entry("of yesterday", "", 1000) + entry("Failed with result", ""))

    with pytest.raises(BusUnavailable) as told:
        bus_service.start()

    assert "Failed with result" in told.value.message
    assert "yesterday" not in told.value.message


def test_where_there_is_no_journal_the_error_is_short(programs: Programs) -> None:
    programs.answer("start", 1, complaint="Job failed\n")
    programs.unit_is(ActiveState="failed", InvocationID=RUN)

    with pytest.raises(
        BusUnavailable, match=r"the bus does not start:\n`keiji system logs --bus` shows more"
    ):
        bus_service.start()


def test_a_start_that_takes_too_long_is_given_up(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(bus_service, "_START_PATIENCE", 0.2)

    with pytest.raises(BusUnavailable, match="did not answer within"):
        bus_service.start()


def test_a_mask_that_only_the_manager_remembers_is_forgotten_once(programs: Programs) -> None:
    programs.answer("start", 1, complaint="Unit is masked.\n")
    programs.unit_is(LoadState="masked", FragmentPath="/home/ada/.config/systemd/user/io.keiji.Bus1.service")

    with pytest.raises(BusUnavailable, match=r"masked by /home/ada/\.config/.*`systemctl --user unmask"):
        bus_service.start()

    assert len(programs.asked("start")) == 2
    assert len(programs.asked("daemon-reload")) == 1


def test_without_a_manager_the_error_is_that_of_the_host(programs: Programs) -> None:
    for word in ("start", "show"):
        programs.answer(word, 1, complaint="Failed to connect to bus: No medium found\n")

    with pytest.raises(BusUnavailable, match="loginctl enable-linger"):
        bus_service.start()


# stopping


def test_a_service_that_does_not_run_is_not_stopped(programs: Programs) -> None:
    assert not bus_service.stop(stay=False)

    assert not programs.asked("stop")
    assert not bus_unit.mask_path().is_symlink()


def test_a_service_that_does_not_end_in_time_is_told(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_service, "_STOP_PATIENCE", 3.0)  # also what the call itself may take
    programs.unit_is(ActiveState="deactivating", InvocationID=RUN)
    programs.answer("stop", 1, complaint="Job canceled.\n")

    with pytest.raises(HostFailed, match="Job canceled"):
        bus_service.stop(stay=False)


def test_a_mask_that_the_manager_does_not_see_by_itself_takes_a_reload(programs: Programs) -> None:
    with pytest.raises(BusUnavailable, match=LOADED["FragmentPath"]):
        bus_service.stop(stay=True)

    assert len(programs.asked("daemon-reload")) == 1
    assert not bus_unit.mask_path().is_symlink()


def test_a_mask_that_the_manager_sees_takes_no_reload(programs: Programs) -> None:
    programs.unit_is(LoadState="masked")

    assert not bus_service.stop(stay=True)

    assert bus_service.is_masked()
    assert not programs.asked("daemon-reload")


def test_without_a_manager_nothing_is_masked(programs: Programs) -> None:
    programs.answer("show", 1, complaint="Failed to connect to bus: No medium found\n")

    with pytest.raises(HostFailed):
        bus_service.stop(stay=True)

    assert not bus_unit.mask_path().parent.exists()


def test_to_allow_what_is_allowed_calls_nobody(programs: Programs) -> None:
    assert not bus_service.allow()

    assert programs.calls() == []


def test_a_mask_is_lifted_once(programs: Programs) -> None:
    programs.unit_is(LoadState="masked")
    bus_service.stop(stay=True)

    assert bus_service.allow()
    assert not bus_service.allow()


# on a loopback socket


@pytest.mark.parametrize(("answer", "answers"), [(("0.1.0", "/home/ada/.keiji"), True), (None, False)])
def test_on_a_loopback_socket_a_service_that_runs_must_answer_now(
    programs: Programs, answer: tuple[str, str] | None, answers: bool
) -> None:
    programs.unit_is(ActiveState="active")

    assert bus_service.is_answering(lambda: answer) is answers
    assert not programs.asked("NameHasOwner")


def test_on_a_loopback_socket_an_idle_service_would_answer_and_is_not_asked(programs: Programs) -> None:
    programs.unit_is(ActiveState="inactive")

    assert bus_service.is_answering(lambda: pytest.fail("it was asked"))


@pytest.mark.parametrize("is_loopback", [True, False])
def test_a_bus_of_the_other_kind_is_not_started(programs: Programs, is_loopback: bool) -> None:
    bus_unit.unit_path().parent.mkdir(parents=True)
    module = "dbus" if is_loopback else "loopback"
    bus_unit.unit_path().write_text(f"[Service]\nExecStart=/usr/bin/python3 -m keiji.bus.{module}\n")

    with pytest.raises(BusUnavailable, match=r"the bus installed here is on .*KEIJI_BUS.*`keiji init`"):
        bus_service.start(is_loopback)

    assert not programs.asked("start")
