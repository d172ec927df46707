"""What systemctl prints, read back."""

from __future__ import annotations

import os
from datetime import datetime, timezone

import pytest

from keiji.systemd import systemctl


def test_a_moment_is_read_in_utc():
    shown = systemctl.moment("Mon 2026-11-23 12:32:00 UTC")

    assert shown == datetime(2026, 11, 23, 12, 32, tzinfo=timezone.utc)


@pytest.mark.parametrize("text", ["", "n/a", "-", "- - Mon 2026-11-23"])
def test_no_moment_is_none(text):
    assert systemctl.moment(text) is None


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """This person's runtime folder, which no variable names."""
    monkeypatch.setattr(systemctl, "_RUNTIME", str(tmp_path))
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / str(os.getuid())
    folder.mkdir()
    return folder


def test_the_manager_is_found_where_no_variable_names_it(runtime):
    assert systemctl.environment()["XDG_RUNTIME_DIR"] == str(runtime)


def test_the_manager_that_variables_name_is_asked(runtime, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    assert systemctl.environment()["XDG_RUNTIME_DIR"] == str(tmp_path)


def test_what_variables_say_of_another_person_is_passed_over(runtime, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/nobody-s")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/nobody-s/bus")

    environment = systemctl.environment()

    assert environment["XDG_RUNTIME_DIR"] == str(runtime)
    assert "DBUS_SESSION_BUS_ADDRESS" not in environment


def test_without_a_runtime_folder_nothing_is_made_up(runtime):
    runtime.rmdir()

    assert "XDG_RUNTIME_DIR" not in systemctl.environment()


@pytest.fixture
def prints(tmp_path, monkeypatch):
    """`prints(text)` makes a systemctl that prints it; returns the file that gets its arguments."""

    def make(text):
        (tmp_path / "text").write_text(text)
        script = tmp_path / "systemctl"
        script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/text\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "asked"

    return make


def test_states_are_those_of_the_units_that_are_loaded(prints):
    prints("keiji-a.timer loaded active waiting keiji: a\nkeiji-c.timer loaded active elapsed keiji: c\n")

    found = systemctl.states(["keiji-a.timer", "keiji-b.timer"], "keiji-*.timer")

    assert found == {"keiji-a.timer": ("active", "waiting")}


@pytest.mark.parametrize("nothing", ["-", "n/a"])  # what older versions print
def test_elapses_are_the_next_times_of_the_timers_that_are_loaded(prints, nothing):
    last = "Mon 2026-11-23 13:39:45 UTC 345ms ago"
    prints(
        f"Tue 2026-11-24 00:00:00 UTC 10h left {last} keiji-a.timer keiji-a.service\n"
        f"Mon 2026-11-23 13:41:20 UTC 1min 34s left {nothing} {nothing} keiji-b.timer keiji-b.service\n"
        f"{nothing} {nothing} {last} keiji-c.timer keiji-c.service\n"
    )

    found = systemctl.elapses(["keiji-a.timer", "keiji-c.timer", "keiji-d.timer"], "keiji-*.timer")

    midnight = datetime(2026, 11, 24, tzinfo=timezone.utc)
    assert found == {"keiji-a.timer": midnight, "keiji-c.timer": None}


def test_few_units_are_asked_for_by_patterns_so_that_none_is_loaded_by_its_name(prints):
    asked = prints("")

    systemctl.states(["keiji-a.timer", "keiji-b.timer"], "keiji-*.timer")

    assert asked.read_text().split()[-2:] == ["keiji-a.time[r]", "keiji-b.time[r]"]


def test_many_units_are_asked_for_by_one_pattern(prints):
    asked = prints("")

    systemctl.states([f"keiji-{n}.timer" for n in range(100)], "keiji-*.timer")

    assert asked.read_text().split()[-1] == "keiji-*.timer"


def test_what_goes_wrong_is_told_to_the_caller_wherever_the_process_runs(monkeypatch):
    monkeypatch.setenv("SYSTEMD_LOG_TARGET", "journal")

    assert systemctl.environment()["SYSTEMD_LOG_TARGET"] == "console"
