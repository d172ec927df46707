"""Where no journal can be read logs are files, for the same commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
from terminal import Terminal

SPEAKS = """
import subprocess, sys
def function():
    print("plain")
    print("loud", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo child; echo 'child is loud' >&2"])
"""
EVERY_SECOND = "Schedule().run().every(1).seconds()"
EVERY_HOUR = "Schedule().run().every(1).hours()"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
LINE = re.compile(rf'time={TIME} level=(INFO|ERROR) msg="(.*)"')


@pytest.fixture(scope="module", autouse=True)
def machine():
    """No journal listens."""
    subprocess.run(["manager-restart", "--no-journal"], check=True, timeout=120)
    yield
    subprocess.run(["manager-restart"], check=True, timeout=120)


@pytest.fixture
def ready(keiji):
    keiji("init")
    return keiji


def build(keiji, function=SPEAKS, schedule=EVERY_HOUR):
    keiji.write_task("t", function, schedule)
    keiji("task", "build", "t")


def said(text):
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [line.groups() for line in found if line]


def logged(keiji, *options):
    return said(keiji("task", "logs", "t", *options).stdout)


def test_what_firings_say_is_in_the_task_s_log(ready, wait_for):
    build(ready, schedule=EVERY_SECOND)
    ready("system", "start")
    wait_for(lambda: logged(ready).count(("INFO", "child")) >= 3, "three firings")
    ready("task", "disable", "t")

    lines = logged(ready)
    assert ("ERROR", "loud") in lines
    assert ("ERROR", "child is loud") in lines
    assert ("INFO", "disable: no further run until it is enabled") in lines
    runs = json.loads(ready("task", "history", "t", "--json").stdout)
    assert {run["result"] for run in runs} == {"succeeded"}
    assert logged(ready, "-n", "1000").count(("INFO", "plain")) == len(runs)


def test_the_record_names_the_file(ready):
    build(ready)

    record = json.loads(ready("task", "get", "t", "--json").stdout)
    assert record["log_path"] == str(ready.home / "logs" / "tasks" / "t" / "task.log")


def test_a_run_by_hand_prints_what_it_says(ready):
    build(ready)

    done = ready("task", "run", "t")
    assert set(done.stdout.split("\n")) == {"plain", "child", ""}
    assert set(done.stderr.split("\n")) == {"loud", "child is loud", ""}


def test_the_log_of_one_run_is_that_run_s(ready):
    build(ready, "import os\ndef function():\n    print(os.environ['INVOCATION_ID'])\n")
    ready("task", "run", "t")
    ready("task", "run", "t")
    first = json.loads(ready("task", "history", "t", "--json").stdout)[1]["id"]

    assert logged(ready, "--run", first[:12]) == [("INFO", first)]
    assert len(logged(ready, "-n", "2")) == 2


def test_a_failure_is_told_in_the_log_and_holds(ready):
    build(ready, "def function():\n    print('before')\n    1 / 0\n")
    ready("task", "run", "t", status=1)

    record = json.loads(ready("task", "get", "t", "--json").stdout)
    assert "ZeroDivisionError" in record["error_txt"]
    assert ("ERROR", "ZeroDivisionError: division by zero") in logged(ready)


def test_what_a_killed_run_said_and_how_it_ended_is_in_the_log(ready, wait_for):
    kill = (
        "import os, signal\ndef function():\n    print('before')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    build(ready, kill)
    ready("task", "run", "t", status=137)

    wait_for(lambda: any("killed by SIGKILL" in text for _, text in logged(ready)), "the verdict")
    assert ("INFO", "before") in logged(ready)


def test_a_stopped_run_ends_soon_and_its_last_words_are_there(ready, wait_for):
    build(
        ready,
        "import time\ndef function():\n    try:\n        print('ready')\n        time.sleep(60)\n"
        "    finally:\n        print('cleaning up')\n",
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "keiji", "task", "run", "t"],
        env=ready.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: ("INFO", "ready") in logged(ready), "the run")
    ready("task", "stop", "t")
    running.wait(60)

    assert ("INFO", "cleaning up") in logged(ready)
    assert json.loads(ready("task", "history", "t", "--json").stdout)[0]["result"] == "stopped"


def test_following_in_a_terminal_shows_lines_as_they_come_and_ends_by_ctrl_c(ready, wait_for):
    build(ready)
    terminal = Terminal(
        [sys.executable, "-m", "keiji", "task", "logs", "t", "--follow"], ready.environment, 50, 160
    )
    try:
        ready("task", "run", "t")
        wait_for(lambda: 'msg="child is loud"' in terminal.text(), "the line")
        terminal.type("\x03")
        assert terminal.status() == 130
        assert "Traceback" not in terminal.text()
    finally:
        terminal.end()


def test_following_a_quiet_task_ends_when_its_reader_leaves(ready):
    build(ready)
    ready("task", "run", "t")
    command = [sys.executable, "-m", "keiji", "task", "logs", "t", "--follow"]
    with subprocess.Popen(
        command, env=ready.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as follower:
        assert follower.stdout
        assert follower.stderr
        follower.stdout.readline()
        follower.stdout.close()
        complaint = follower.stderr.read()

    assert (follower.returncode, complaint) == (141, b"")


def test_an_editor_opens_the_file_itself(ready, tmp_path):
    build(ready)
    ready("task", "run", "t")
    editor = ready.home.parent / "bin" / "nano"
    editor.parent.mkdir()
    editor.write_text('#!/bin/sh\necho "opened $1"\n')
    editor.chmod(0o755)
    ready.environment["PATH"] = f"{editor.parent}:{os.environ['PATH']}"

    opened = ready("task", "--logs", "--name=t", "--nano").stdout.strip()
    assert opened == f"opened {ready.home / 'logs' / 'tasks' / 't' / 'task.log'}"
    services = ready("system", "--logs", "--bus", "--nano").stdout.strip().removeprefix("opened ")
    with open(services) as export:
        assert "event=directive" in export.read()


def test_services_have_logs_of_events(ready):
    build(ready)
    ready("system", "start")
    ready("task", "disable", "t")

    bus = ready("system", "logs", "--bus").stdout
    assert re.search(rf"^time={TIME} level=INFO event=directive verb=disable task=t ", bus, re.MULTILINE)
    scheduler = ready("system", "logs", "--scheduler").stdout
    assert 'msg="started: 1 task' in scheduler
    assert 'msg="t: disable: no further run until it is enabled"' in scheduler


def test_following_the_bus_s_log_shows_directives_as_they_are_carried_out(ready):
    build(ready)
    command = [sys.executable, "-m", "keiji", "system", "logs", "--bus", "--follow"]
    with subprocess.Popen(command, env=ready.environment, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout
        ready("task", "disable", "t")
        while "event=directive verb=disable" not in follower.stdout.readline():
            pass
        follower.send_signal(signal.SIGINT)
        follower.stdout.read()  # whose reader leaves ends otherwise

    assert follower.returncode == 130


def test_logs_are_rotated_by_the_settings(ready):
    with (ready.workspace / "settings.conf").open("a") as settings:
        settings.write("LOG_MAX_SIZE=20000\n")
    build(ready, "def function():\n    for n in range(500):\n        print(f'line {n}')\n")
    ready("task", "run", "t")

    folder = ready.home / "logs" / "tasks" / "t"
    assert max(path.stat().st_size for path in folder.iterdir()) <= 20000
    assert (folder / "task.log.1").exists()
    texts = [text for _, text in logged(ready, "-n", "500")]
    assert texts == [f"line {n}" for n in range(500)]


def test_deleting_a_task_deletes_its_log(ready):
    build(ready)
    ready("task", "run", "t")
    ready("task", "delete", "t")

    assert not (ready.home / "logs" / "tasks" / "t").exists()


def test_the_doctor_says_where_logs_are(ready):
    findings = json.loads(ready("doctor", "--json", status=1).stdout)

    (found,) = [finding for finding in findings if finding["check"] == "journal"]
    assert found["severity"] == "note"
    assert str(ready.home / "logs") in found["message"]


def test_a_journal_that_keeps_nothing_is_found_out_and_one_that_does_is_used_again(ready, restart_manager):
    restart_manager("--deaf-journal")
    try:
        ready("system", "update")
        build(ready)
        ready("task", "run", "t")
        assert ("INFO", "plain") in logged(ready)
        assert json.loads(ready("task", "get", "t", "--json").stdout)["log_path"].endswith("task.log")

        restart_manager()
        ready("system", "update")
        ready("task", "run", "t")
        run = json.loads(ready("task", "history", "t", "--json").stdout)[0]["id"]
        assert ("INFO", "plain") in logged(ready, "--run", run)
        assert json.loads(ready("task", "get", "t", "--json").stdout)["log_path"].startswith("journal:")
        log = (ready.home / "logs" / "tasks" / "t" / "task.log").read_text()
        assert log.count('msg="plain"') == 1
    finally:
        restart_manager("--no-journal")


def test_lines_of_both_are_shown_where_the_journal_went_away_for_a_while(ready, restart_manager):
    restart_manager()
    try:
        ready("system", "update")
        build(ready, "def function():\n    print('in the journal')\n")
        ready("task", "run", "t")
        restart_manager("--no-journal")  # and nobody tells keiji
        ready("task", "run", "t")
        restart_manager()

        texts = [text for _, text in logged(ready)]
        first = max(n for n, text in enumerate(texts) if text == "in the journal")
        assert texts[first - 1] == "run: asked for by hand"
        runs = [run["id"] for run in json.loads(ready("task", "history", "t", "--json").stdout)]
        assert [logged(ready, "--run", run) for run in runs] == [[("INFO", "in the journal")]] * 2
    finally:
        restart_manager("--no-journal")
