"""The bus service's files in the data folder; the manager and the session bus are stand-ins."""

from __future__ import annotations

from pathlib import Path

import pytest

import keiji
from keiji.folders import Folders
from keiji.systemd import bus_unit

CALLED = ["io.keiji.Bus1.service", "dbus-1/services/io.keiji.Bus1.service"]
DROP_IN = "io.keiji.Bus1.service.d/keiji.conf"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Folders of a person who has a data folder, a runtime folder and nothing in them."""
    for name in ("config", "data", "runtime", "bin"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return Folders(tmp_path / "keiji", tmp_path / ".keiji")


@pytest.fixture
def packaged(tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> Path:
    """keiji lies where a package puts it; the unit that the package ships."""
    package = tmp_path / "usr/lib/python3/dist-packages/keiji/__init__.py"
    unit = tmp_path / "usr/lib/systemd/user/io.keiji.Bus1.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    monkeypatch.setattr(keiji, "__file__", str(package))
    return unit


@pytest.fixture
def bus_knows(tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session bus that answers what this file holds."""
    for name, does in (("busctl", f"cat {tmp_path}/answer"), ("systemctl", "echo LoadState=loaded")):
        script = tmp_path / "bin" / name
        script.write_text(f"#!/bin/sh\nexec {does}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path / "answer"


def test_both_files_are_written_and_named_only_where_they_differ(folders: Folders) -> None:
    first = bus_unit.write_files(folders)
    second = bus_unit.write_files(folders)
    bus_unit.unit_path().write_text("of an older keiji")
    third = bus_unit.write_files(folders)

    assert (first, second, third) == (CALLED, [], CALLED[:1])
    assert "SystemdService=io.keiji.Bus1.service\n" in bus_unit.activation_path().read_text()
    assert f'Environment="KEIJI_HOME={folders.home}"\n' in bus_unit.unit_path().read_text()


def test_beside_a_package_s_unit_the_home_gets_only_a_drop_in(packaged: Path, folders: Folders) -> None:
    first = bus_unit.write_files(folders)
    second = bus_unit.write_files(folders)

    assert (first, second) == ([DROP_IN], [])
    assert f'Environment="KEIJI_HOME={folders.home}"\n' in bus_unit.drop_in_path().read_text()
    assert not bus_unit.unit_path().exists()
    assert not bus_unit.activation_path().exists()


def test_a_unit_that_another_installation_s_package_ships_is_no_concern(
    packaged: Path, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keiji, "__file__", str(tmp_path / "checkout/keiji/__init__.py"))

    assert bus_unit.write_files(folders) == CALLED


def test_the_installation_that_writes_last_removes_what_the_other_had_written(
    packaged: Path, folders: Folders
) -> None:
    bus_unit.write_files(folders)
    packaged.unlink()

    assert bus_unit.write_files(folders) == CALLED
    assert not bus_unit.drop_in_path().parent.exists()

    packaged.touch()

    assert bus_unit.write_files(folders) == [DROP_IN]
    assert not bus_unit.unit_path().exists()
    assert not bus_unit.activation_path().exists()


def test_a_bus_on_a_loopback_socket_has_the_unit_alone_and_takes_the_place_of_the_other(
    folders: Folders,
) -> None:
    bus_unit.write_files(folders)

    changed = bus_unit.write_files(folders, is_loopback=True)

    assert changed == CALLED[:1]
    assert bus_unit.is_of_loopback()
    assert not bus_unit.activation_path().exists()
    assert bus_unit.write_files(folders, is_loopback=True) == []
    assert bus_unit.write_files(folders) == CALLED
    assert not bus_unit.is_of_loopback()


@pytest.mark.usefixtures("packaged")
def test_beside_a_package_s_unit_a_bus_on_a_loopback_socket_has_one_of_its_own(folders: Folders) -> None:
    bus_unit.write_files(folders)

    bus_unit.write_files(folders, is_loopback=True)

    assert bus_unit.expected_unit(is_loopback=True) == bus_unit.unit_path()
    assert bus_unit.is_of_loopback()
    assert not bus_unit.drop_in_path().exists()


def test_a_drop_in_that_is_right_is_named_where_it_comes_into_force_again(
    packaged: Path, folders: Folders
) -> None:
    """So that the manager is told to look."""
    bus_unit.write_files(folders)
    bus_unit.unit_path().parent.mkdir(parents=True)
    bus_unit.unit_path().write_text("of a checkout")

    assert bus_unit.write_files(folders) == [DROP_IN]


@pytest.mark.usefixtures("packaged")
def test_a_drop_in_of_somebody_else_stays(folders: Folders) -> None:
    bus_unit.write_files(folders)
    override = bus_unit.drop_in_path().with_name("override.conf")
    override.touch()

    bus_unit.remove_files()

    assert override.exists()
    assert not bus_unit.drop_in_path().exists()


def test_what_was_made_is_removed_and_the_folders_of_all_programs_stay(
    folders: Folders, tmp_path: Path
) -> None:
    bus_unit.write_files(folders)
    bus_unit.mask_path().parent.mkdir(parents=True)
    bus_unit.mask_path().symlink_to("/dev/null")

    bus_unit.remove_files()
    bus_unit.remove_files()

    left = {path for name in ("data", "runtime") for path in (tmp_path / name).rglob("*")}
    assert {path for path in left if not path.is_dir()} == set()
    assert left.issuperset(bus_unit.folders())
    assert bus_unit.mask_path().parent not in left


def test_what_others_have_there_stays(folders: Folders) -> None:
    bus_unit.write_files(folders)
    others = [path.with_name("other.service") for path in (bus_unit.unit_path(), bus_unit.activation_path())]
    for path in others:
        path.touch()

    bus_unit.remove_files()

    assert all(path.exists() for path in others)
    assert not bus_unit.unit_path().exists()


def test_a_bus_that_knows_the_service_is_not_spoken_of(bus_knows: Path) -> None:
    bus_knows.write_text('as 2 "org.freedesktop.DBus" "io.keiji.Bus1"\n')

    assert bus_unit.advice() == []


def test_a_bus_that_looks_elsewhere_is_told_with_the_folder(bus_knows: Path, tmp_path: Path) -> None:
    bus_knows.write_text('as 2 "org.freedesktop.DBus" "io.keiji.Bus10"\n')

    (note,) = bus_unit.advice()

    assert f"{tmp_path}/data/dbus-1/services" in note


@pytest.mark.usefixtures("packaged")
def test_a_bus_that_overlooks_what_the_package_ships_is_told_with_that_folder(
    bus_knows: Path, tmp_path: Path
) -> None:
    bus_knows.write_text('as 1 "org.freedesktop.DBus"\n')

    (note,) = bus_unit.advice()

    assert f"{tmp_path}/usr/share/dbus-1/services" in note


def test_without_a_session_bus_there_is_nothing_to_tell(bus_knows: Path) -> None:
    assert bus_unit.advice() == []


def test_a_manager_that_looks_elsewhere_is_told_with_the_folder(bus_knows: Path, tmp_path: Path) -> None:
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\nexec echo LoadState=not-found\n")

    (note,) = bus_unit.advice()

    assert f"{tmp_path}/data/systemd/user" in note
    assert "XDG_DATA_HOME" in note
