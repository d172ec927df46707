"""The package is upgraded, has a second installation beside it, and goes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from person import BUS, Person
from scene import PERIOD, YEARLY, Scene, expect, expect_on_time, moment, now


def upgrade(scene: Scene) -> None:
    """an upgrade misses no firing, and the next command restarts the bus on the new code"""
    scene.ada.ping()
    process, began = scene.ada.bus_process(), now()
    scene.install(scene.newer)
    expect(scene.ada.bus_process() == process, "the package's upgrade ended a person's bus")
    scene.ada.keiji("task", "disable", "broken")
    expect(scene.ada.ping() == scene.newer, "the bus goes on with the old code")
    expect(scene.ada.bus_process() != process, "the bus is the same process")
    ended = now()
    runs = scene.ada.wait_for_runs(
        "tick", lambda runs: runs if moment(runs[0]["began"]) > ended else [], "the next firing"
    )
    expect_on_time([run for run in runs if moment(run["began"]) > began - timedelta(seconds=PERIOD)])


def update(scene: Scene) -> None:
    """system update renders units anew that are not as this version has them"""
    scene.ada.sh("echo '# of an older version' >> ~/.config/systemd/user/keiji-tick.timer")
    said = scene.ada.keiji("system", "update")
    expect("1 of 6 tasks' units changed" in said, said)
    states = scene.ada.states()
    expect(
        (states["tick"], states["broken"], states["sour"]) == ("armed", "disabled", "held"), f"now: {states}"
    )


OTHER = "~/other/bin/python -m keiji"


def make_other(person: Person) -> None:
    """A second installation, of another version."""
    person.sh(
        "python3 -m venv --without-pip --system-site-packages ~/other\n"
        "packages=$(echo ~/other/lib/python3.*/site-packages)\n"
        "cp -r /usr/lib/python3/dist-packages/keiji $packages\n"
        "sed -i 's/^__version__ = .*/__version__ = \"0.0.1\"/' $packages/keiji/__init__.py"
    )


def doctor(scene: Scene) -> None:
    """the doctor finds nothing wrong after all that"""
    said = scene.ada.keiji("doctor")
    expect("sour: " in said and "broken: " in said, f"the held and the disabled task are not named: {said}")


def checkout(scene: Scene) -> None:
    """with a second installation there is one bus, of who said init or update last"""
    make_other(scene.ada)
    scene.ada.sh(f"{OTHER} init")
    expect(scene.ada.ping() == "0.0.1", "the bus is not of the installation that said init last")
    refused = scene.ada.keiji("task", "disable", "broken", status=1)
    expect(" in the way; `keiji system update`" in refused, f"the remedy is not told: {refused}")
    scene.ada.keiji("system", "update")
    expect(scene.ada.ping() == scene.newer, "the bus is not of the installation that said update last")
    expect(
        not [file for file in scene.ada.files() if "/.local/share/dbus-1/services/" in file],
        "the other's files are left",
    )
    scene.ada.sh("rm -r ~/other")


def uninstall(scene: Scene) -> None:
    """system uninstall leaves no trace in the home or the manager"""
    scene.ada.keiji("system", "uninstall", "--yes")
    left = {file for file in scene.ada.files() - scene.empty_home if "keiji" in Path(file).name}
    expect(not left, f"left in the home: {sorted(left)}")
    loaded = scene.ada.sh("systemctl --user list-units --all --plain --no-legend '*keiji*'")
    expect(loaded == "", f"left in the manager: {loaded}")


def purge(scene: Scene) -> None:
    """remove and purge leave nothing of the package, and every home as it is"""
    scene.bob.keiji("init")
    scene.bob.write("tick", "print('tick')", YEARLY)
    scene.bob.keiji("task", "build", "tick")
    scene.bob.sh(f"systemctl --user stop {BUS}")
    make_other(scene.bob)
    before = scene.bob.sums()
    for verb in ("remove", "purge"):
        scene.install(scene.newer)
        scene.remove(verb)
        expect(scene.bob.sums() == before, f"{verb} changed a home")
    said = scene.bob.sh(f"{OTHER} doctor", status=1)
    expect(
        "has no keiji any more" in said, f"the doctor does not find the units whose command is gone: {said}"
    )
    left = scene.box.run(
        "find", "/etc", "/usr", "/var", "/run", "-name", "*keiji*", "-not", "-path", "/run/user/*"
    )
    expect(left == "", f"left on the machine: {left}")


STEPS = (upgrade, update, doctor, checkout, uninstall, purge)
