"""A command's collaborators, put together from the person's environment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from commanding import Place

from keiji import session
from keiji.directives import Directive, Verb
from keiji.errors import InvalidSettings, NotInitialised, StoreUnavailable, UnsupportedHere, UsageError


@pytest.fixture
def mine(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A keiji that the environment names, on a machine that is taken for Linux."""
    monkeypatch.setenv("KEIJI_HOME", str(place.folders.home))
    monkeypatch.setenv("KEIJI_WORKSPACE", str(place.folders.workspace))
    monkeypatch.setenv("KEIJI_HOST", "linux")
    return place


def test_before_init_the_way_to_it_is_shown() -> None:
    with pytest.raises(NotInitialised, match="keiji init"):
        session.load()


def test_a_keiji_whose_workspace_is_gone_is_none(mine: Place) -> None:
    mine.folders.workspace.rename(mine.folders.workspace.with_name("away"))

    with pytest.raises(NotInitialised):
        session.load()


def test_folders_and_settings_are_those_that_the_environment_names(mine: Place) -> None:
    mine.folders.settings.write_text("TIME_ZONE=Africa/Nairobi\n")

    loaded = session.load()

    assert (loaded.folders, loaded.settings.time_zone) == (mine.folders, "Africa/Nairobi")
    assert loaded.host.name == "linux"


def test_a_wrong_setting_is_refused_with_its_line(mine: Place) -> None:
    mine.folders.settings.write_text("\nROTATE_LOGS=perhaps\n")

    with pytest.raises(InvalidSettings, match="line 2"):
        session.load()


def test_what_must_stop_tasks_goes_on_with_a_wrong_setting_but_asks_no_database(
    mine: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.folders.settings.write_text("\nROTATE_LOGS=perhaps\n")

    loaded = session.load(must_stop=True)

    assert "line 2: ROTATE_LOGS must be 0 or 1" in capsys.readouterr().err
    with pytest.raises(InvalidSettings, match="line 2"), loaded.store():
        pass


def test_an_unknown_setting_is_a_note(mine: Place, capsys: pytest.CaptureFixture[str]) -> None:
    mine.folders.settings.write_text("TIMEZONE=UTC\n")

    session.load()

    assert "did you mean TIME_ZONE?" in capsys.readouterr().err


def test_a_system_without_a_manager_yet_is_refused(mine: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEIJI_HOST", "beos")

    with pytest.raises(UnsupportedHere, match="linux or macos"):
        session.load()


@pytest.mark.parametrize(
    ("said", "client"), [("", "DBusClient"), ("dbus", "DBusClient"), ("loopback", "LoopbackClient")]
)
def test_directives_travel_as_the_environment_says(
    mine: Place, monkeypatch: pytest.MonkeyPatch, said: str, client: str
) -> None:
    monkeypatch.setenv("KEIJI_BUS", said)

    assert type(session.load().bus).__name__ == client


def test_a_transport_that_is_none_is_refused(mine: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEIJI_BUS", "pigeon")

    with pytest.raises(UnsupportedHere, match="KEIJI_BUS=pigeon: dbus or loopback is allowed"):
        session.load()


@pytest.mark.parametrize(
    ("other", "typed"), [("/home/ada/.keiji", "/home/ada/.keiji"), ("/Volumes/A B/k", "'/Volumes/A B/k'")]
)
def test_units_of_another_keiji_are_not_touched(
    place: Place, monkeypatch: pytest.MonkeyPatch, other: str, typed: str
) -> None:
    monkeypatch.setattr(place.host, "owner", lambda: other)

    with pytest.raises(UsageError, match=re.escape(f"(KEIJI_HOME={typed})")):
        session.check_owner(place.host)


def test_no_database_is_opened_before_it_is_needed(place: Place) -> None:
    place.folders.database.unlink()

    with place.session.store() as store:
        assert not place.folders.database.exists()
        with pytest.raises(StoreUnavailable):
            store.tasks()


def test_a_directive_is_carried_out(place: Place) -> None:
    place.add()

    assert "disabled" in place.session.send(Directive(Verb.DISABLE, "ping")).message

    assert not place.host.is_enabled("ping")


def test_loading_makes_nothing(mine: Place, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    session.load()

    assert sorted(tmp_path.rglob("*")) == before
