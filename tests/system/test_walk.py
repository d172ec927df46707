"""The main job, from init to uninstall, against the real manager."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

PRINTS = 'def function():\n    print("Pinging…")\n'
EVERY_SECOND = "Schedule().run().every(1).seconds()"
EVERY_HOUR = "Schedule().run().every(1).hours()"


def runs(keiji, name):
    return json.loads(keiji("task", "history", name, "--json").stdout)


def record(keiji, name):
    return json.loads(keiji("task", "get", name, "--json").stdout)


def trace():
    """Every file below the private home, but for what the manager keeps for itself."""
    home = Path(os.environ["HOME"])
    return sorted(
        str(path.relative_to(home)) for path in home.rglob("*") if path.is_file() or path.is_symlink()
    )


def test_init_says_what_it_made_and_twice_changes_nothing(keiji):
    first = keiji("init").stdout
    second = keiji("init").stdout

    assert f"made {keiji.home}" in first
    assert "installed keiji.target" in first
    assert "nothing changed" in second
    assert keiji.home.stat().st_mode & 0o777 == 0o700


def test_a_built_task_fires_and_each_firing_is_recorded(keiji, wait_for):
    keiji("init")
    keiji.write_task("ping_google", PRINTS, EVERY_SECOND)
    keiji("task", "build", "ping_google")
    keiji("system", "start")

    wait_for(lambda: len(runs(keiji, "ping_google")) >= 3, "three firings")

    for run in runs(keiji, "ping_google"):
        assert (run["result"], run["trigger"], run["exit_status"]) == ("succeeded", "timer", 0)
        assert re.fullmatch(r"[0-9a-f]{32}", run["id"])
        assert run["due"] <= run["began"] <= run["ended"]
        assert run["cpu_seconds"] > 0
        assert run["peak_memory_bytes"] > 1_000_000
    assert 'level=INFO msg="Pinging…"' in keiji("task", "logs", "ping_google").stdout


def test_the_record_has_the_documented_fields_in_their_order(keiji):
    keiji("init")
    keiji.write_task("ping_google", PRINTS, "Schedule().run().every(10).seconds()", "pings google")
    keiji("task", "build", "ping_google")
    keiji("system", "start")

    lines = keiji("task", "get", "ping_google").stdout.splitlines()

    assert lines[0] == "TaskModel:"
    shown = dict(line.split(":", 1) for line in lines[1:])
    assert list(shown) == [
        *("ID", "TaskId", "Name", "Description", "Schedule", "LastExecutionTime", "NextExecutionTime"),
        *(
            "LogPath",
            "Slug",
            "Type",
            "Executable",
            "IsRunning",
            "IsQueued",
            "IsError",
            "IsDisabled",
            "ErrorTxt",
        ),
    ]
    assert shown["Schedule"] == " units:seconds,interval:10"
    assert shown["Type"] == " HMS"
    assert shown["LogPath"] == " journal:keiji-ping_google.service"
    assert shown["IsRunning"] == " true"
    assert shown["Executable"] == f" {keiji.home}/exec/tasks/ping_google/current"


def test_the_original_spelling_does_the_same(keiji):
    keiji("init")
    keiji("task", "--create", "--name=Ping Google", "--desc=pings google")
    schedule = keiji.workspace / "tasks" / "ping-google" / "schedule.py"
    schedule.write_text(schedule.read_text().replace("every(10).seconds()", "every(1).hours()"))
    keiji("task", "--build", "--name=Ping Google")
    keiji("system", "--start")

    assert keiji("task", "--get", "--name=Ping Google").stdout == keiji("task", "get", "Ping Google").stdout
    keiji("task", "--disable", "--name=Ping Google")
    assert record(keiji, "Ping Google")["is_disabled"]
    keiji("task", "--enable", "--name=Ping Google")
    assert record(keiji, "Ping Google")["is_running"]
    keiji("task", "--delete", "--name=Ping Google")
    assert json.loads(keiji("task", "get", "--json").stdout) == []
    keiji("system", "--stop")


def test_the_manager_s_next_time_is_the_schedule_s(keiji):
    keiji("init")
    for number, schedule in enumerate(
        [
            "Schedule().run().every(2).hours()",
            "Schedule().run().every(36).hours()",
            'Schedule().on().friday().at("10:00PM").in_timezone("Africa/Nairobi")',
            'Schedule().cron("*/15 9-17 * * mon-fri").in_timezone("America/New_York")',
            'Schedule().on().last_day().at("23:59")',
        ]
    ):
        keiji.write_task(f"t{number}", PRINTS, schedule)
    keiji("task", "build", "--all")
    keiji("system", "start")

    for number in (0, 2, 3, 4):
        told = json.loads(keiji("task", "next", f"t{number}", "-n", "1", "--json").stdout)[0]
        asked = record(keiji, f"t{number}")["next_execution_time"]
        assert subprocess.check_output(["date", "-d", told, "+%s"]) == subprocess.check_output(
            ["date", "-d", asked, "+%s"]
        )


def test_a_run_by_hand_streams_its_output_and_exits_with_its_status(keiji):
    keiji("init")
    lines = (
        "import sys\ndef function():\n    print('out')\n    print('err', file=sys.stderr)\n    sys.exit(7)\n"
    )
    keiji.write_task("seven", lines, f'{EVERY_HOUR}.on_failure("continue")')
    keiji("task", "build", "seven")

    done = keiji("task", "run", "seven", status=7)

    assert done.stdout == "out\n"
    assert "err\n" in done.stderr
    (run,) = runs(keiji, "seven")
    assert (run["trigger"], run["result"], run["exit_status"], run["due"]) == ("manual", "failed", 7, None)


def test_a_disabled_task_does_not_fire_and_may_run_by_hand(keiji, restart_manager):
    keiji("init")
    keiji.write_task("ping", PRINTS, EVERY_SECOND)
    keiji("task", "build", "ping")
    keiji("system", "start")
    keiji("task", "disable", "ping")
    before = len(runs(keiji, "ping"))
    restart_manager()

    assert not record(keiji, "ping")["is_running"]
    keiji("task", "run", "ping")
    assert [run["trigger"] for run in runs(keiji, "ping")][: len(runs(keiji, "ping")) - before] == ["manual"]
    keiji("task", "enable", "ping")
    assert record(keiji, "ping")["is_running"]


def test_the_system_stays_started_over_a_reboot_and_stopped_too(keiji, restart_manager, wait_for):
    keiji("init")
    keiji.write_task("ping", PRINTS, EVERY_SECOND)
    keiji("task", "build", "ping")
    keiji("system", "start")
    restart_manager("--new-boot")

    assert "scheduler          ONLINE" in keiji("system", "status").stdout
    before = len(runs(keiji, "ping"))
    wait_for(lambda: len(runs(keiji, "ping")) > before, "a firing after the reboot")

    keiji("system", "stop")
    restart_manager("--new-boot")
    assert "scheduler          OFFLINE" in keiji("system", "status").stdout
    assert not record(keiji, "ping")["is_running"]


def test_stopping_the_system_lets_runs_finish_and_names_them(keiji, wait_for, tmp_path):
    keiji("init")
    go = tmp_path / "go"
    waits = f"import os, time\ndef function():\n    while not os.path.exists({str(go)!r}):\n"
    waits += "        time.sleep(0.02)\n"
    keiji.write_task("slow", waits, EVERY_SECOND)
    keiji("task", "build", "slow")
    keiji("system", "start")
    wait_for(lambda: (keiji.home / "run" / "running" / "slow").exists(), "the run")

    stopped = keiji("system", "stop")
    go.touch()

    assert "of slow goes on" in stopped.stderr
    wait_for(lambda: [run["result"] for run in runs(keiji, "slow")] == ["succeeded"], "its end")


def test_deleting_a_task_leaves_only_its_source(keiji, systemctl):
    keiji("init")
    folder = keiji.write_task("backup", PRINTS, EVERY_SECOND)
    keiji("task", "build", "backup")
    keiji("system", "start")
    keiji("task", "run", "backup")

    keiji("task", "delete", "backup")

    assert folder.is_dir()
    assert "keiji-backup" not in systemctl("list-units", "--all", "--plain")
    left = [str(path) for path in keiji.home.rglob("*backup*") if "venv" not in path.parts]
    assert [path for path in left if not path.startswith(str(keiji.home / "run" / "locks"))] == []
    keiji("task", "get", "backup", status=1)


def test_uninstall_leaves_no_trace(keiji):
    before = trace()
    keiji("init")
    keiji.write_task("daily", PRINTS, 'Schedule().on().every_day().at("03:00")')
    keiji("task", "build", "daily")
    keiji("system", "start")
    keiji("task", "run", "daily")

    keiji("system", "uninstall", status=2)
    keiji("system", "uninstall", "--yes")

    assert trace() == before
    assert not keiji.home.exists()
    assert not keiji.workspace.exists()


def test_systemd_finds_nothing_to_say_about_any_rendered_unit(keiji):
    keiji("init")
    for number, schedule in enumerate(
        [
            EVERY_SECOND,
            "Schedule().run().every(7).seconds()",
            "Schedule().run().every(36).hours()",
            "Schedule().at_boot()",
            'Schedule().on().weekdays().at("09:00", "17:30").in_timezone("Europe/Berlin").jitter("5m")',
            'Schedule().cron("*/15 9-17 13 * fri").missed("skip").timeout("30s").retry(tries=3, delay=5)',
        ]
    ):
        keiji.write_task(f"t{number}", PRINTS, schedule, description='100% "quoted" $HOME \\ and more\\')
    keiji("task", "build", "--all")
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user"
    files = [str(path) for path in folder.iterdir() if path.is_file()]

    checked = subprocess.run(
        ["systemd-analyze", "--user", "verify", *files], capture_output=True, text=True, check=False
    )

    assert len(files) >= 17
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_init_makes_nothing_where_no_manager_answers(tmp_path):
    home, nobody_there = tmp_path / "home", tmp_path / "run"
    for folder in (home, nobody_there):
        folder.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_RUNTIME_DIR": str(nobody_there)}
    environment.pop("DBUS_SESSION_BUS_ADDRESS", None)

    done = subprocess.run(
        [sys.executable, "-m", "keiji", "init"], env=environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "no systemd user manager answers" in done.stderr
    assert not list(home.iterdir())
