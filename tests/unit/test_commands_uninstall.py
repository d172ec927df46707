"""`keiji system uninstall`, with the host in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from commanding import Place
from recording import a_run, query

from keiji.commands.uninstall import uninstall
from keiji.errors import BusUnavailable, HostFailed, InvalidSettings, UsageError

DATABASES = ("sqlite", "postgres")

Out = pytest.CaptureFixture[str]


def test_everything_goes_and_the_number_of_tasks_is_told(place: Place, capsys: Out) -> None:
    for name in ("a", "b"):
        place.add(name)

    uninstall(place.session, keep_workspace=False, yes=True)

    assert place.host.system is None
    assert place.host.units == {}
    assert not place.folders.home.exists()
    assert not place.folders.workspace.exists()
    assert "2 tasks" in capsys.readouterr().out


def test_the_workspace_may_be_kept(place: Place) -> None:
    uninstall(place.session, keep_workspace=True, yes=True)

    assert place.folders.workspace.is_dir()
    assert not place.folders.home.exists()


def test_without_a_terminal_nothing_is_removed_unless_it_is_said(place: Place) -> None:
    with pytest.raises(UsageError, match="--yes"):
        uninstall(place.session, keep_workspace=False, yes=False)

    assert place.folders.home.is_dir()
    assert place.host.is_started()


def test_the_bus_is_down_before_anything_else_is_done(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.host.start_bus()
    down: list[bool] = []
    monkeypatch.setattr(
        place.host, "stop_system", lambda: down.append(place.host.bus_stays_down and not place.host.bus_runs)
    )

    uninstall(place.session, keep_workspace=False, yes=True)

    assert down == [True]


def test_a_stranger_s_unit_in_the_place_of_the_bus_is_told_and_hinders_nothing(
    place: Place, capsys: Out
) -> None:
    place.host.faults["stop_bus"] = BusUnavailable("/home/ada/other is used in its place")

    uninstall(place.session, keep_workspace=False, yes=True)

    assert "note: /home/ada/other" in capsys.readouterr().err
    assert not place.folders.home.exists()


def test_without_a_manager_nothing_is_removed(place: Place) -> None:
    place.host.faults["stop_bus"] = HostFailed("no manager")

    with pytest.raises(HostFailed):
        uninstall(place.session, keep_workspace=False, yes=True)

    assert place.folders.home.is_dir()


def test_what_a_shared_database_holds_of_this_machine_goes_too(place: Place, capsys: Out) -> None:
    shared = not place.session.settings.uses_sqlite
    place.add("ping")
    place.record(a_run())

    uninstall(place.session, keep_workspace=True, yes=True)

    if shared:
        assert [query(place.folders, f"SELECT * FROM {table}") for table in ("task", "run", "host")] == [
            []
        ] * 3
    assert ("its tables stay" in capsys.readouterr().out) is shared


def test_with_settings_that_tell_no_database_it_is_told_that_rows_may_stay(place: Place, capsys: Out) -> None:
    place.add("ping")
    session = replace(place.session, problem=InvalidSettings("ROTATE_LOGS must be 0 or 1"))

    uninstall(session, keep_workspace=True, yes=True)

    assert not place.folders.home.exists()
    assert "one on a server keeps this machine's rows" in capsys.readouterr().err


def test_with_the_server_away_all_else_goes_and_it_is_told(place: Place, capsys: Out) -> None:
    pytest.importorskip("psycopg2")
    place.add("ping")
    away = replace(place.session.settings, db_url="postgresql://u@127.0.0.1:1/d")

    uninstall(replace(place.session, settings=away), keep_workspace=True, yes=True)

    assert place.host.units == {}
    assert not place.folders.home.exists()
    assert "what it holds of this machine's tasks and runs stays there" in capsys.readouterr().err
