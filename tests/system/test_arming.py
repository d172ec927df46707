"""Arming on purpose is no missed run; a run that was missed while the machine was off is caught up once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

PRINTS = "def function():\n    print('ran')\n"


def runs(keiji, name):
    return json.loads(keiji("task", "history", name, "--json").stdout)


def set_up(keiji, schedule, name="t"):
    keiji("init")
    keiji.write_task(name, PRINTS, schedule)
    keiji("task", "build", name)
    keiji("system", "start")


def minute_ago():
    """A wall-clock time of today or yesterday that has just passed, as `.at()` takes it."""
    return (datetime.now(timezone.utc) - timedelta(minutes=1)).strftime("%H:%M")


def age_stamp(name, seconds):
    """What the manager would find had the timer last fired so long ago."""
    stamp = Path(os.environ["XDG_DATA_HOME"]) / "systemd" / "timers" / f"stamp-keiji-{name}.timer"
    then = time.time() - seconds
    os.utime(stamp, (then, then))


def settle(systemctl, name):
    """Wait until the manager has nothing queued and the task's service is at rest."""
    while (
        systemctl("list-jobs", "--no-legend")
        or systemctl("is-active", f"keiji-{name}.service") == "activating"
    ):
        time.sleep(0.02)


def test_no_deliberate_arming_fires_a_daily_task(keiji, systemctl):
    set_up(keiji, f'Schedule().on().every_day().at("{minute_ago()}").in_timezone("UTC")')
    age_stamp("t", 3 * 86400)

    for words in (
        ("system", "stop"),
        ("system", "start"),
        ("task", "disable", "t"),
        ("task", "enable", "t"),
        ("task", "restart", "t"),
        ("task", "build", "t", "--restart"),
        ("system", "restart"),
    ):
        keiji(*words)
        if words[-1] != "stop" and words[1] != "disable":
            age_stamp("t", 3 * 86400)
    settle(systemctl, "t")

    assert runs(keiji, "t") == []


def test_a_changed_schedule_does_not_fire_for_times_it_would_have_had(keiji, systemctl):
    set_up(keiji, 'Schedule().on().every_day().at("00:00").in_timezone("UTC")')
    schedule = keiji.workspace / "tasks" / "t" / "schedule.py"
    text = schedule.read_text()

    schedule.write_text(text.replace('"00:00"', f'"{minute_ago()}"'))
    keiji("task", "build", "t")
    settle(systemctl, "t")

    assert runs(keiji, "t") == []
    assert minute_ago()[:3] in keiji("task", "next", "t", "-n", "1").stdout


def test_a_daily_run_that_was_missed_while_the_machine_was_off_comes_once(keiji, restart_manager, wait_for):
    set_up(keiji, 'Schedule().on().every_day().at("03:00").in_timezone("UTC")')
    age_stamp("t", 3 * 86400)
    restart_manager("--new-boot")

    wait_for(lambda: runs(keiji, "t"), "the run that was missed")

    (run,) = runs(keiji, "t")
    assert (run["trigger"], run["result"]) == ("catch-up", "succeeded")
    assert run["due"] < run["began"]


def test_a_task_that_skips_missed_runs_is_not_caught_up(keiji, restart_manager, systemctl):
    set_up(keiji, 'Schedule().on().every_day().at("03:00").in_timezone("UTC").missed("skip")')
    restart_manager("--new-boot")
    settle(systemctl, "t")

    assert [run["result"] for run in runs(keiji, "t")] == []


def test_a_boot_task_runs_once_a_boot_and_not_when_it_is_armed(keiji, restart_manager, wait_for, systemctl):
    set_up(keiji, "Schedule().at_boot()")
    keiji("task", "restart", "t")
    settle(systemctl, "t")
    assert runs(keiji, "t") == []

    restart_manager("--new-boot")
    wait_for(lambda: runs(keiji, "t"), "the run at boot")
    keiji("task", "restart", "t")
    restart_manager()
    settle(systemctl, "t")

    assert [(run["trigger"], run["result"]) for run in runs(keiji, "t")] == [("boot", "succeeded")]


def test_a_long_period_drops_the_firings_in_between_unrecorded(keiji, systemctl, wait_for):
    set_up(keiji, "Schedule().run().every(36).hours()")

    subprocess.run(["systemctl", "--user", "start", "keiji-t.service"], check=True)

    assert runs(keiji, "t") == []
    keiji("task", "run", "t")
    assert [run["trigger"] for run in runs(keiji, "t")] == ["manual"]


def test_an_interval_timer_has_a_next_time_and_fires(keiji, wait_for):
    set_up(keiji, "Schedule().run().every(7).seconds()")

    assert json.loads(keiji("task", "get", "t", "--json").stdout)["next_execution_time"]
    wait_for(lambda: runs(keiji, "t"), "a firing")


def test_limits_that_the_manager_cannot_enforce_are_refused_and_nothing_is_installed(keiji, systemctl):
    group = systemctl("show", "--property=ControlGroup", "--value")
    available = Path(f"/sys/fs/cgroup{group}/cgroup.controllers").read_text().split()
    keiji("init")
    keiji.write_task("t", PRINTS, 'Schedule().run().every(1).hours().limit(memory="64M")')

    built = keiji("task", "build", "t", status=0 if "memory" in available else 1)

    if "memory" not in available:
        assert "memory" in built.stderr
        assert "keiji-t" not in systemctl("list-unit-files")


def set_zone(keiji, zone):
    settings = keiji.workspace / "settings.conf"
    settings.write_text(re.sub("(?m)^TIME_ZONE=.*", f"TIME_ZONE={zone}", settings.read_text()))


def test_after_a_change_of_the_settings_zone_an_update_moves_unit_and_guard_alike(keiji, wait_for):
    set_up(keiji, 'Schedule().on().every_day().at("00:00").missed("skip")')
    now = datetime.now(timezone.utc)
    ahead = 23 - now.hour  # whole hours until the next full hour is midnight there
    zone = f"Etc/GMT-{ahead}" if ahead <= 12 else f"Etc/GMT+{24 - ahead}"  # the sign is POSIX's
    set_zone(keiji, zone)

    keiji("system", "update")

    due = json.loads(keiji("task", "next", "t", "-n", "1", "--json").stdout)[0]
    unit = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / "keiji-t.service"
    assert unit.read_text().partition("--zone ")[2].splitlines()[0].strip('"') == zone
    assert datetime.fromisoformat(due) - now <= timedelta(hours=1)


def test_a_build_that_was_killed_before_the_reload_is_finished_by_the_next(keiji, systemctl):
    set_up(keiji, "Schedule().run().every(1).hours()")
    before = systemctl("show", "-p", "TimersCalendar", "keiji-t.timer")
    schedule = keiji.workspace / "tasks" / "t" / "schedule.py"
    schedule.write_text(schedule.read_text().replace("every(1)", "every(2)"))
    # A manager that can't be asked to reload: the build is killed where it would.
    shim = keiji.home.parent / "bin" / "systemctl"
    shim.parent.mkdir()
    shim.write_text('#!/bin/sh\n[ "$2" = daemon-reload ] && kill -9 $PPID\nexec /usr/bin/systemctl "$@"\n')
    shim.chmod(0o755)
    path = keiji.environment["PATH"]
    keiji.environment["PATH"] = f"{shim.parent}:{path}"
    keiji("task", "build", "t", status=-9)
    keiji.environment["PATH"] = path

    keiji("task", "build", "t")

    assert systemctl("show", "-p", "TimersCalendar", "keiji-t.timer") != before
    assert json.loads(keiji("task", "get", "t", "--json").stdout)["is_running"]


def set_up_from_inside(keiji, *verbs):
    """A task that gives itself directives, and then says that it goes on."""
    keiji("init")
    keiji.write_task(
        "t",
        f"import subprocess, sys\ndef function():\n    for verb in {verbs!r}:\n"
        f"        subprocess.run([{sys.executable!r}, '-m', 'keiji', 'task', verb, 't'])\n"
        "    print('goes on')\n",
        "Schedule().run().every(1).hours()",
    )
    (keiji.workspace / "tasks" / "t" / ".env").write_text(
        f"TASK_NAME=t\nTASK_DESCRIPTION=d\nKEIJI_HOME={keiji.home}\nKEIJI_WORKSPACE={keiji.workspace}\n"
    )
    keiji("task", "build", "t")
    keiji("system", "start")


def test_a_task_may_disable_itself_and_goes_on(keiji):
    set_up_from_inside(keiji, "disable")

    ran = keiji("task", "run", "t")

    assert "goes on" in ran.stdout
    assert json.loads(keiji("task", "get", "t", "--json").stdout)["is_disabled"]
    assert [run["result"] for run in runs(keiji, "t")] == ["succeeded"]


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_task_that_stops_itself_is_stopped(keiji, verb):
    set_up_from_inside(keiji, verb)

    ran = keiji("task", "run", "t", status=143)

    assert "goes on" not in ran.stdout
    assert json.loads(keiji("task", "get", "t", "--json").stdout)["is_running"]
    assert [run["result"] for run in runs(keiji, "t")] == ["stopped"]


def test_a_task_may_delete_itself(keiji, systemctl, wait_for):
    set_up_from_inside(keiji, "delete")

    subprocess.run(["systemctl", "--user", "start", "--no-block", "keiji-t.service"], check=True)

    wait_for(lambda: "keiji-t" not in systemctl("list-units", "--all", "--plain"), "the task to be gone")
    wait_for(lambda: json.loads(keiji("task", "get", "--json").stdout) == [], "its record to be gone")


def test_another_time_zone_is_followed_at_the_next_update_or_build_and_told_until_then(keiji, systemctl):
    keiji("init")
    set_zone(keiji, "Africa/Nairobi")
    for name in ("updated", "rebuilt"):
        keiji.write_task(name, PRINTS, 'Schedule().cron("0 0 1 1 *")')
    keiji("task", "build", "--all")
    keiji("system", "start")
    set_zone(keiji, "Asia/Tokyo")

    for name in ("updated", "rebuilt"):
        said = keiji("task", "next", name)
        assert said.stdout.splitlines()[0].endswith("-01-01T00:00:00+03:00 Africa/Nairobi")
        assert f"{name} goes by Africa/Nairobi until `keiji system update`" in said.stderr
    assert "go by Africa/Nairobi, and TIME_ZONE is Asia/Tokyo now" in keiji("doctor", status=1).stdout

    keiji("task", "build", "rebuilt")
    assert "goes by" not in keiji("task", "next", "rebuilt").stderr
    keiji("system", "update")
    for name in ("updated", "rebuilt"):
        assert "Asia/Tokyo" in keiji("task", "next", name).stdout
        assert "Asia/Tokyo" in systemctl("show", "--property=TimersCalendar", f"keiji-{name}.timer")
    assert "go by" not in keiji("doctor", status=1).stdout.replace("schedules go by", "")
