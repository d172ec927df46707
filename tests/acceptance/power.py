"""The machine is cut off from power and comes back, and it is rebooted."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta

from scene import Scene, expect, moment, now


def plug(scene: Scene) -> None:
    """the plug is pulled during a run, before a daily task is due"""
    scene.due = next_minute(timedelta(seconds=10))
    scene.long_due = scene.due - timedelta(hours=2)
    for task, due in (("daily", scene.due), ("nightly", scene.long_due)):
        schedule = f'Schedule().on().every_day().at("{due:%H:%M}").in_timezone("UTC")'
        scene.ada.write(task, "print('once a day')", schedule)
        scene.ada.keiji("task", "build", task)
    run = scene.ada.begin("task", "run", "slow")
    scene.box.wait_for(lambda: scene.ada.states()["slow"] == "running", "the run to go on")
    scene.box.run("sync")
    scene.box.cut()
    run.wait()
    expect(now() < scene.due, "this took too long: the daily task was due before the plug was pulled")
    # As if the machine had been off for longer: the manager goes by the age of this file.
    stamp = scene.box.root / "home/ada/.local/share/systemd/timers/stamp-keiji-nightly.timer"
    os.utime(stamp, (scene.long_due.timestamp() - 60,) * 2)
    time.sleep((scene.due - now()).total_seconds() + 1)


def go_on(scene: Scene) -> None:
    """after the power cut tasks go on though nobody logs in"""
    done = scene.box.root / "home/ada/.keiji/run/done"
    seen = before = {*done.iterdir()}

    def look() -> bool:
        nonlocal seen
        seen = {*seen, *done.iterdir()}
        return len(seen - before) >= 2

    scene.box.up()
    scene.box.wait_for(look, "two runs to end")
    sessions = scene.box.run("loginctl", "list-sessions", "--no-legend").splitlines()
    logins = [session for session in sessions if " manager " not in session]  # listed from systemd 256 on
    expect(not logins, f"somebody is logged in: {logins}")


def catch_up(scene: Scene) -> None:
    """what was due meanwhile is caught up once"""
    for task, due in (("daily", scene.due), ("nightly", scene.long_due)):
        (run,) = scene.ada.wait_for_runs(task, lambda runs: runs, f"{task} to be caught up")
        expect((run["result"], moment(run["due"])) == ("succeeded", due), f"due at {due}, and it ran: {run}")
    # A run that is only seconds late counts as on time.
    expect(run["trigger"] == "catch-up", f"its record does not say that it was caught up: {run}")


def survive(scene: Scene) -> None:
    """the run that was cut off is killed and not held; what was held stays held"""
    states = scene.ada.states()
    (run,) = scene.ada.runs("slow")
    expect((run["result"], states["slow"]) == ("killed", "armed"), f"{run}, and the task is {states['slow']}")
    expect((len(scene.ada.runs("sour")), states["sour"]) == (1, "held"), "the held task is no longer held")
    caught_up = [scene.ada.runs(task) for task in ("daily", "nightly")]
    expect([len(runs) for runs in caught_up] == [1, 1], f"caught up more than once: {caught_up}")


def reboot(scene: Scene) -> None:
    """at a reboot a run in progress ends without a hold, and all goes on"""
    run = scene.ada.begin("task", "run", "slow")
    scene.box.wait_for(lambda: scene.ada.states()["slow"] == "running", "the run to go on")
    scene.box.off()
    run.wait()
    off = now()
    scene.box.up()
    scene.ada.wait_for_runs("tick", lambda runs: moment(runs[0]["began"]) > off, "a run of tick")
    (last, _) = scene.ada.runs("slow")
    expect(last["result"] in ("killed", "stopped"), f"the run in progress ended otherwise: {last}")
    states = scene.ada.states()
    expect((states["slow"], states["sour"]) == ("armed", "held"), f"after the reboot: {states}")
    expect(len(scene.ada.runs("daily")) == 1, "the daily task ran again")


def next_minute(after: timedelta) -> datetime:
    """The first full minute that is so far away at least."""
    early = now() + after
    return early.replace(second=0, microsecond=0) + timedelta(minutes=1)


STEPS = (plug, go_on, catch_up, survive, reboot)
