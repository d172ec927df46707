"""`keiji system uninstall`, with the host in memory."""

from __future__ import annotations

import pytest
from commanding import Place

from keiji.commands.uninstall import uninstall
from keiji.errors import BusUnavailable, HostFailed, UsageError

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
