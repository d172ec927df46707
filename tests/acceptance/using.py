"""A person gets to know keiji: from the package's installation to a task that fails and is mended."""

from __future__ import annotations

from person import BUS
from scene import PERIOD, YEARLY, Scene, expect, expect_on_time

TICK = f"Schedule().run().every({PERIOD}).seconds()"
# fails until a file is there
BROKEN = """\
import pathlib
if not pathlib.Path.home().joinpath("mended").exists():
    raise OSError("broken")"""


def boot(scene: Scene) -> None:
    """a minimal Debian boots, and a person logs in"""
    scene.box.up()
    scene.box.run("loginctl", "enable-linger", "ada")
    said = scene.ada.sh("loginctl show-session $XDG_SESSION_ID")
    expect({"Class=user", "Service=login", "Name=ada"} <= {*said.split()}, f"no login session: {said}")
    there = scene.ada.sh("command -v keiji python3", status=None)
    expect(there == "", f"it is no bare machine: {there}")
    scene.empty_home = scene.ada.files()


def install(scene: Scene) -> None:
    """the package installs offline, and enables nothing for anybody"""
    scene.install(scene.version)
    expect(scene.ada.keiji("--version").split()[-1] == scene.version, "keiji tells another version")
    enabled = scene.box.run("find", "/etc/systemd", "/var/lib/systemd", "-name", "*keiji*")
    expect(enabled == "", f"the package enabled {enabled}")
    expect(scene.ada.files() == scene.empty_home, "the package wrote into a home")


def stranger(scene: Scene) -> None:
    """who never said init is told to, and a call to their bus writes nothing"""
    before = scene.bob.files()
    told = scene.bob.keiji("task", "list", status=1)
    expect("run `keiji init` first" in told, f"not told to say init: {told}")
    expect(scene.bob.ping() == scene.version, "another version answers")
    expect(scene.bob.files() == before, "something was written into the home")


def init(scene: Scene) -> None:
    """init uses the bus's unit of the package, and changes nothing the second time"""
    said = scene.ada.keiji("init")
    expect("keiji is ready" in said, said)
    expect(f"installed {BUS}.service.d/keiji.conf\n" in said, f"no drop-in for the bus: {said}")
    expect("nothing changed" in scene.ada.keiji("init"), "the second init changed something")
    expect(not [file for file in scene.ada.files() if "/.local/share/" in file], "the bus has a second unit")
    expect(scene.ada.ping() == scene.version, "the bus does not answer")


def build(scene: Scene) -> None:
    """tasks are created, built and started"""
    scene.ada.write("tick", "print('tick')", TICK)
    scene.ada.write("broken", BROKEN, TICK)
    scene.ada.write("sour", "raise OSError('for ever')", TICK)
    scene.ada.write("slow", "import time\ntime.sleep(600)", YEARLY)
    scene.ada.keiji("task", "build", "--all")
    said = scene.ada.keiji("system", "start")
    expect("4 tasks armed" in said, said)


def verify(scene: Scene) -> None:
    """this systemd finds nothing to say about the units"""
    said = scene.ada.verified()
    expect(said == "", said)


def fire(scene: Scene) -> None:
    """a task fires three times on time, and its output is in its log"""
    runs = scene.ada.wait_for_runs("tick", lambda runs: runs if len(runs) >= 3 else [], "three firings")
    expect_on_time(runs)
    log = scene.ada.keiji("task", "logs", "tick", "-n", "500")
    expect(log.count('level=INFO msg="tick"') >= 3, f"its log lacks lines:\n{log}")


def hold(scene: Scene) -> None:
    """tasks that fail are held, and run no more"""
    for task in ("broken", "sour"):
        scene.box.wait_for(lambda task=task: scene.ada.states()[task] == "held", f"{task} to be held")
    expect("is held" in scene.ada.keiji("task", "run", "broken", status=1), "a held task can be run")
    before = len(scene.ada.runs("tick"))
    scene.ada.wait_for_runs("tick", lambda runs: len(runs) >= before + 2, "two further runs of another task")
    for task in ("broken", "sour"):
        results = [run["result"] for run in scene.ada.runs(task)]
        expect(results == ["failed"], f"{task} ran though it is held: {results}")


def resolve(scene: Scene) -> None:
    """a task that is mended and resolved runs again"""
    scene.ada.sh("touch ~/mended")
    scene.ada.keiji("task", "resolve", "broken")
    scene.ada.wait_for_runs("broken", lambda runs: runs[0]["result"] == "succeeded", "a run that succeeds")
    expect(scene.ada.states()["sour"] == "held", "resolving one task resolved another")


STEPS = (boot, install, stranger, init, build, verify, fire, hold, resolve)
