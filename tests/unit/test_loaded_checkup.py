"""What the manager goes by is held against keiji's files; systemctl is a stand-in."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from standing_in import Programs

from keiji.findings import Finding, Severity
from keiji.schedule import Schedule
from keiji.systemd import bus_unit, loaded_checkup, names

DAILY = Schedule().on().every_day().at("02:30").in_zone("UTC")
EXECUTES = "[Service]\nExecStart=\nExecStart=/bin/true\n"


def found(programs: Programs, *units: str, drop_in: Path | str = "", reload: str = "no") -> list[Finding]:
    """What is found where these units are loaded with that drop-in."""
    shown = (f"Id={unit}\nDropInPaths={drop_in}\nNeedDaemonReload={reload}\n" for unit in units)
    programs.answer("show", said="\n".join(shown))
    return list(loaded_checkup.findings({}))


def a_drop_in(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


@pytest.fixture
def override() -> Path:
    return a_drop_in(names.unit_folder() / "keiji-ping.service.d" / "override.conf", EXECUTES)


def test_units_that_are_loaded_as_they_are_written_are_fine(programs: Programs) -> None:
    assert found(programs, "keiji-ping.service", "keiji-ping.timer") == []


def test_a_drop_in_is_a_warning_that_names_it_and_its_unit(programs: Programs, override: Path) -> None:
    (finding,) = found(programs, "keiji-ping.service", drop_in=override)

    assert finding.severity is Severity.WARNING
    assert str(override) in finding.message
    assert "keiji-ping.service" in finding.message
    assert finding.remedy == f"if that is not meant: `rm {override} && systemctl --user daemon-reload`"


def test_one_for_all_services_is_told_once(programs: Programs) -> None:
    path = a_drop_in(names.unit_folder() / "service.d" / "all of them.conf", EXECUTES)
    services = [f"keiji-{task}.service" for task in "abcde"]

    (finding,) = found(programs, *services, drop_in=f'"{path}"')

    assert "keiji-a.service, keiji-b.service, keiji-c.service and 2 more" in finding.message
    assert f"`rm '{path}' && " in finding.remedy


def test_bounds_are_somebody_s_wish(programs: Programs) -> None:
    text = "# mine\n[Service]\nMemoryMax=1G\nCPUQuota=20%\n\n[Unit]\nDescription=it\n"
    path = a_drop_in(names.unit_folder().parent / "user.control" / "keiji-ping.service.d" / "50.conf", text)

    (finding,) = found(programs, "keiji-ping.service", drop_in=path)

    assert finding.severity is Severity.NOTE


def test_keiji_s_own_and_the_system_s_drop_ins_are_not_spoken_of(programs: Programs) -> None:
    own = a_drop_in(bus_unit.drop_in_path(), EXECUTES)

    assert found(programs, names.BUS_SERVICE, drop_in=f"/usr/lib/systemd/user/service.d/10.conf {own}") == []


def test_what_root_has_put_there_root_removes(programs: Programs, override: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    (finding,) = found(programs, "keiji-ping.service", drop_in=override)

    assert "`sudo rm " in finding.remedy


def test_a_file_that_the_manager_has_not_read_since_it_was_changed_is_a_warning(programs: Programs) -> None:
    (finding,) = found(programs, "keiji-ping.timer", reload="yes")

    assert (finding.severity, finding.remedy) == (Severity.WARNING, "`systemctl --user daemon-reload`")
    assert "keiji-ping.timer" in finding.message


def late(programs: Programs, elapse: datetime, schedule: Schedule = DAILY, **shown: str) -> list[Finding]:
    programs.answer(
        "list-timers", said=f"{elapse:%a %Y-%m-%d %H:%M:%S} UTC 1h left - - {names.timer('ping')} x\n"
    )
    programs.answer("show", said="".join(f"{key}={value}\n" for key, value in shown.items()))
    return list(loaded_checkup.findings({"ping": schedule}))


def next_time() -> datetime:
    (due,) = DAILY.next_times(datetime.now(timezone.utc), 1)
    return due


def test_a_timer_that_waits_for_a_time_long_after_its_schedule_s_is_an_error(programs: Programs) -> None:
    (finding,) = late(programs, datetime(2099, 1, 1, tzinfo=timezone.utc))

    assert (finding.severity, finding.task) == (Severity.ERROR, "ping")
    assert "2099-01-01 00:00 UTC" in finding.message
    assert "daemon-reload && keiji task restart ping`" in finding.remedy


@pytest.mark.parametrize("hours", [0, -3])
def test_its_own_next_time_or_one_before_is_fine(programs: Programs, hours: int) -> None:
    assert late(programs, next_time() + timedelta(hours=hours)) == []


def test_a_delay_by_chance_is_within_the_schedule(programs: Programs) -> None:
    schedule = DAILY.jitter("1h")

    assert late(programs, next_time() + timedelta(minutes=50), schedule) == []


def test_a_time_that_an_unread_file_explains_is_not_told_twice(programs: Programs) -> None:
    far = datetime(2099, 1, 1, tzinfo=timezone.utc)

    (finding,) = late(programs, far, Id=names.timer("ping"), NeedDaemonReload="yes")

    assert finding.task is None
