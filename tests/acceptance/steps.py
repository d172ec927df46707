"""What a person does with keiji on one machine, from the package's installation to its purge.

Each step is a function that raises `Failed`; later ones build on what the earlier ones have left."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

from box import Box
from person import BUS, Person, Run, expect, moment

PERIOD = 3
TICK = f"Schedule().run().every({PERIOD}).seconds()"
YEARLY = 'Schedule().cron("0 0 1 1 *")'
# fails until a file is there
BROKEN = (
    "import pathlib\nif not pathlib.Path.home().joinpath('mended').exists():\n    raise OSError('broken')"
)
APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "--yes"]
INSTALL = [*APT, "install", "--no-install-recommends"]
LIMIT = 120  # seconds for apt


@dataclass
class Walk:
    """The machine, the people, and what one step leaves for another."""

    box: Box
    ada: Person
    bob: Person
    version: str
    next_version: str
    empty_home: set[str] = field(default_factory=set)
    due: datetime = datetime.min  # while the machine is off
    long_due: datetime = datetime.min


def boot(walk: Walk) -> None:
    """a minimal Debian boots, and a person logs in"""
    walk.box.up()
    walk.box.run("loginctl", "enable-linger", "ada")
    said = walk.ada.sh(
        "loginctl show-session $XDG_SESSION_ID --property=Class --property=Service --property=Name"
    )
    expect({"Class=user", "Service=login", "Name=ada"} <= {*said.split()}, f"no login session: {said}")
    expect(walk.ada.sh("command -v keiji python3", status=None) == "", "there is a keiji or a Python already")
    walk.empty_home = walk.ada.files()


def install(walk: Walk) -> None:
    """the package installs offline, and enables nothing for anybody"""
    walk.box.run(*INSTALL, f"/srv/{walk.version}.deb", timeout=LIMIT)
    expect(walk.ada.keiji("--version").split()[-1] == walk.version, "keiji tells another version")
    enabled = walk.box.run("find", "/etc/systemd", "/var/lib/systemd", "-name", "*keiji*")
    expect(enabled == "", f"the package enabled {enabled}")
    expect(walk.ada.files() == walk.empty_home, "the package wrote into a home")


def stranger(walk: Walk) -> None:
    """who never said init is told to, and a call to their bus writes nothing"""
    before = walk.bob.files()
    told = walk.bob.keiji("task", "list", status=1)
    expect("run `keiji init` first" in told, f"not told to say init: {told}")
    expect(walk.bob.ping() == walk.version, "another version answers")
    expect(walk.bob.files() == before, "something was written into the home")


def init(walk: Walk) -> None:
    """init uses the bus's unit of the package, and changes nothing the second time"""
    said = walk.ada.keiji("init")
    expect("keiji is ready" in said, said)
    expect(f"installed {BUS}.service.d/keiji.conf\n" in said, f"no drop-in for the bus: {said}")
    expect("nothing changed" in walk.ada.keiji("init"), "the second init changed something")
    expect(not [file for file in walk.ada.files() if "/.local/share/" in file], "the bus has a second unit")
    expect(walk.ada.ping() == walk.version, "the bus does not answer")


def build(walk: Walk) -> None:
    """tasks are created, built and started"""
    walk.ada.write("tick", "print('tick')", TICK)
    walk.ada.write("broken", BROKEN, TICK)
    walk.ada.write("sour", "raise OSError('for ever')", TICK)
    walk.ada.write("slow", "import time\ntime.sleep(600)", YEARLY)
    walk.ada.keiji("task", "build", "--all")
    said = walk.ada.keiji("system", "start")
    expect("4 tasks armed" in said, said)


def fire(walk: Walk) -> None:
    """a task fires three times on time, and its output is in its log"""
    runs = walk.ada.wait_for_runs("tick", lambda runs: runs if len(runs) >= 3 else [], "three firings")
    expect_on_time(runs)
    log = walk.ada.keiji("task", "logs", "tick", "-n", "500")
    expect(log.count('level=INFO msg="tick"') >= 3, f"its log lacks lines:\n{log}")


def hold(walk: Walk) -> None:
    """tasks that fail are held, and run no more"""
    for task in ("broken", "sour"):
        walk.box.wait_for(lambda task=task: walk.ada.states()[task] == "held", f"{task} to be held")
    expect("is held" in walk.ada.keiji("task", "run", "broken", status=1), "a held task can be run")
    before = len(walk.ada.runs("tick"))
    walk.ada.wait_for_runs("tick", lambda runs: len(runs) >= before + 2, "two further runs of another task")
    for task in ("broken", "sour"):
        results = [run["result"] for run in walk.ada.runs(task)]
        expect(results == ["failed"], f"{task} ran though it is held: {results}")


def resolve(walk: Walk) -> None:
    """a task that is mended and resolved runs again"""
    walk.ada.sh("touch ~/mended")
    walk.ada.keiji("task", "resolve", "broken")
    walk.ada.wait_for_runs("broken", lambda runs: runs[0]["result"] == "succeeded", "a run that succeeds")
    expect(walk.ada.states()["sour"] == "held", "resolving one task resolved another")


def plug(walk: Walk) -> None:
    """the plug is pulled during a run, before a daily task is due"""
    walk.due = next_minute(timedelta(seconds=10))
    walk.long_due = walk.due - timedelta(hours=2)
    for task, due in (("daily", walk.due), ("nightly", walk.long_due)):
        schedule = f'Schedule().on().every_day().at("{due:%H:%M}").in_timezone("UTC")'
        walk.ada.write(task, "print('once a day')", schedule)
        walk.ada.keiji("task", "build", task)
    run = walk.ada.begin("task", "run", "slow")
    walk.box.wait_for(lambda: walk.ada.states()["slow"] == "running", "the run to go on")
    walk.box.run("sync")
    walk.box.cut()
    run.wait()
    expect(now() < walk.due, "this took too long: the daily task was due before the plug was pulled")
    # As if the machine had been off for longer: the manager goes by the age of this file.
    stamp = walk.box.root / "home/ada/.local/share/systemd/timers/stamp-keiji-nightly.timer"
    os.utime(stamp, (walk.long_due.timestamp() - 60,) * 2)
    time.sleep((walk.due - now()).total_seconds() + 1)


def go_on(walk: Walk) -> None:
    """after the power cut tasks go on though nobody logs in"""
    done = walk.box.root / "home/ada/.keiji/run/done"
    before = {*done.iterdir()}
    walk.box.up()
    walk.box.wait_for(lambda: len({*done.iterdir()} - before) >= 2, "two runs to end")
    sessions = walk.box.run("loginctl", "list-sessions", "--no-legend").splitlines()
    logins = [session for session in sessions if " manager " not in session]  # listed from systemd 256 on
    expect(not logins, f"somebody is logged in: {logins}")


def catch_up(walk: Walk) -> None:
    """what was due meanwhile is caught up once"""
    for task, due in (("daily", walk.due), ("nightly", walk.long_due)):
        (run,) = walk.ada.wait_for_runs(task, lambda runs: runs, f"{task} to be caught up")
        expect((run["result"], moment(run["due"])) == ("succeeded", due), f"due at {due}, and it ran: {run}")
    # A run that is only seconds late counts as on time.
    expect(run["trigger"] == "catch-up", f"its record does not say that it was caught up: {run}")


def survive(walk: Walk) -> None:
    """the run that was cut off is killed and not held; what was held stays held"""
    states = walk.ada.states()
    (run,) = walk.ada.runs("slow")
    expect((run["result"], states["slow"]) == ("killed", "armed"), f"{run}, and the task is {states['slow']}")
    expect((len(walk.ada.runs("sour")), states["sour"]) == (1, "held"), "the held task is no longer held")
    expect(len(walk.ada.runs("daily") + walk.ada.runs("nightly")) == 2, "a task was caught up more than once")


def reboot(walk: Walk) -> None:
    """at a reboot a run in progress ends without a hold, and all goes on"""
    run = walk.ada.begin("task", "run", "slow")
    walk.box.wait_for(lambda: walk.ada.states()["slow"] == "running", "the run to go on")
    began = now()
    walk.box.off()
    run.wait()
    walk.box.up()
    walk.ada.wait_for_runs(
        "tick", lambda runs: moment(runs[0]["began"]) > began + timedelta(seconds=PERIOD), "a run of tick"
    )
    (last, _) = walk.ada.runs("slow")
    expect(last["result"] in ("killed", "stopped"), f"the run in progress ended otherwise: {last}")
    states = walk.ada.states()
    expect((states["slow"], states["sour"]) == ("armed", "held"), f"after the reboot: {states}")
    expect(len(walk.ada.runs("daily")) == 1, "the daily task ran again")


def upgrade(walk: Walk) -> None:
    """an upgrade misses no firing, and the next command restarts the bus on the new code"""
    walk.ada.ping()
    process, began = walk.ada.bus_process(), now()
    walk.box.run(*INSTALL, f"/srv/{walk.next_version}.deb", timeout=LIMIT)
    expect(walk.ada.bus_process() == process, "the package's upgrade ended a person's bus")
    walk.ada.keiji("task", "disable", "broken")
    expect(walk.ada.ping() == walk.next_version, "the bus goes on with the old code")
    expect(walk.ada.bus_process() != process, "the bus is the same process")
    ended = now()
    runs = walk.ada.wait_for_runs(
        "tick", lambda runs: runs if moment(runs[0]["began"]) > ended else [], "the next firing"
    )
    expect_on_time([run for run in runs if moment(run["began"]) > began - timedelta(seconds=PERIOD)])


def update(walk: Walk) -> None:
    """system update renders units anew that are not as this version has them"""
    walk.ada.sh("echo '# of an older version' >> ~/.config/systemd/user/keiji-tick.timer")
    said = walk.ada.keiji("system", "update")
    expect("1 of 6 tasks' units changed" in said, said)
    states = walk.ada.states()
    expect(
        (states["tick"], states["broken"], states["sour"]) == ("armed", "disabled", "held"), f"now: {states}"
    )


def checkout(walk: Walk) -> None:
    """with a second installation there is one bus, of who said init or update last"""
    walk.ada.sh(
        "python3 -m venv --without-pip --system-site-packages ~/other\n"
        "packages=$(echo ~/other/lib/python3.*/site-packages)\n"
        "cp -r /usr/lib/python3/dist-packages/keiji $packages\n"
        "sed -i 's/^__version__ = .*/__version__ = \"0.0.1\"/' $packages/keiji/__init__.py\n"
        "~/other/bin/python -m keiji init"
    )
    expect(walk.ada.ping() == "0.0.1", "the bus is not of the installation that said init last")
    refused = walk.ada.keiji("task", "disable", "broken", status=1)
    expect("is in the way; `keiji system update`" in refused, f"the remedy is not told: {refused}")
    walk.ada.keiji("system", "update")
    expect(walk.ada.ping() == walk.next_version, "the bus is not of the installation that said update last")
    expect(
        not [file for file in walk.ada.files() if "/.local/share/dbus-1" in file],
        "the other's files are left",
    )
    walk.ada.sh("rm -r ~/other")


def uninstall(walk: Walk) -> None:
    """system uninstall leaves no trace in the home or the manager"""
    walk.ada.keiji("system", "uninstall", "--yes")
    left = {file for file in walk.ada.files() - walk.empty_home if "keiji" in Path(file).name}
    expect(not left, f"left in the home: {sorted(left)}")
    loaded = walk.ada.sh("systemctl --user list-units --all --plain --no-legend '*keiji*'")
    expect(loaded == "", f"left in the manager: {loaded}")


def purge(walk: Walk) -> None:
    """remove and purge leave nothing of the package, and every home as it is"""
    walk.bob.keiji("init")
    walk.bob.write("tick", "print('tick')", YEARLY)
    walk.bob.keiji("task", "build", "tick")
    walk.bob.sh(f"systemctl --user stop {BUS}")
    before = walk.bob.sums()
    for verb in ("remove", "purge"):
        walk.box.run(*INSTALL, f"/srv/{walk.next_version}.deb", timeout=LIMIT)
        walk.box.run(*APT, verb, "keiji", timeout=LIMIT)
        expect(walk.bob.sums() == before, f"{verb} changed a home")
    left = walk.box.run(
        "find", "/etc", "/usr", "/var", "/run", "-name", "*keiji*", "-not", "-path", "/run/user/*"
    )
    expect(left == "", f"left on the machine: {left}")


STEPS = (
    *(boot, install, stranger, init, build, fire, hold, resolve),
    *(plug, go_on, catch_up, survive, reboot),
    *(upgrade, update, checkout, uninstall, purge),
)


def expect_on_time(runs: list[Run]) -> None:
    """Each firing of a period came, and none but these."""
    due = sorted(moment(run["due"]) for run in runs if run["trigger"] == "timer")
    gaps = {(after - before).total_seconds() for before, after in pairwise(due)}
    expect(
        gaps == {float(PERIOD)},
        f"each {PERIOD} s a run was due, and they came at {[f'{at:%T.%f}' for at in due]}",
    )


def now() -> datetime:
    return datetime.now(timezone.utc)


def next_minute(after: timedelta) -> datetime:
    """The first full minute that is so far away at least."""
    early = now() + after
    return early.replace(second=0, microsecond=0) + timedelta(minutes=1)
