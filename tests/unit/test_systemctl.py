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
    assert systemctl._environment()["XDG_RUNTIME_DIR"] == str(runtime)


def test_the_manager_that_variables_name_is_asked(runtime, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    assert systemctl._environment()["XDG_RUNTIME_DIR"] == str(tmp_path)


def test_what_variables_say_of_another_person_is_passed_over(runtime, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/nobody-s")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/nobody-s/bus")

    environment = systemctl._environment()

    assert environment["XDG_RUNTIME_DIR"] == str(runtime)
    assert "DBUS_SESSION_BUS_ADDRESS" not in environment


def test_without_a_runtime_folder_nothing_is_made_up(runtime):
    runtime.rmdir()

    assert "XDG_RUNTIME_DIR" not in systemctl._environment()
