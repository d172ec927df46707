"""A task's log is in the journal: each line at once, stderr louder, and readable by run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

SPEAKS = """
import subprocess, sys
def function():
    print("plain")
    print("loud", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo child; echo 'child is loud' >&2"])
"""
EVERY_HOUR = "Schedule().run().every(1).hours()"
LINE = re.compile(r'time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d level=(INFO|ERROR) msg="(.*)"')


def set_up(keiji, function=SPEAKS):
    keiji("init")
    keiji.write_task("t", function, EVERY_HOUR)
    keiji("task", "build", "t")


def said(text):
    return [LINE.fullmatch(line).groups() for line in text.splitlines()]


def test_lines_have_one_format_and_stderr_is_an_error_the_children_s_too(keiji):
    set_up(keiji)
    keiji("task", "run", "t")

    lines = said(keiji("task", "logs", "t").stdout)

    assert ("INFO", "plain") in lines
    assert ("INFO", "child") in lines
    assert ("ERROR", "loud") in lines
    assert ("ERROR", "child is loud") in lines


def test_n_counts_lines_from_the_end(keiji):
    set_up(keiji, "def function():\n    for n in range(10):\n        print(n)\n")
    keiji("task", "run", "t")

    assert [text for _, text in said(keiji("task", "logs", "t", "-n", "3").stdout)] == ["7", "8", "9"]


def test_the_log_of_one_run_is_that_run_s(keiji):
    set_up(keiji, "import os\ndef function():\n    print(os.environ['INVOCATION_ID'])\n")
    keiji("task", "run", "t")
    keiji("task", "run", "t")
    first = json.loads(keiji("task", "history", "t", "--json").stdout)[1]["id"]

    for spelled in (first, first[:12]):
        assert [text for _, text in said(keiji("task", "logs", "t", "--run", spelled).stdout)] == [first]
    keiji("task", "logs", "t", "--run", "0000", status=1)


def test_directives_stand_in_the_task_s_log_and_in_plain_journalctl(keiji):
    set_up(keiji)
    keiji("system", "start")
    keiji("task", "disable", "t")

    assert any("disable:" in text for _, text in said(keiji("task", "logs", "t").stdout))
    plain = subprocess.run(
        ["journalctl", "-q", "--user-unit", "keiji-t.service"], capture_output=True, text=True, check=True
    )
    assert "disable:" in plain.stdout
    assert "keiji-t.timer" in keiji("system", "logs", "--scheduler").stdout


def test_follow_prints_lines_as_they_come_until_interrupted(keiji):
    set_up(keiji)
    command = [sys.executable, "-m", "keiji", "task", "logs", "t", "--follow"]
    with subprocess.Popen(command, env=keiji.environment, stdout=subprocess.PIPE, text=True) as follower:
        keiji("task", "run", "t")
        while "plain" not in follower.stdout.readline():
            pass
        follower.send_signal(signal.SIGINT)

    assert follower.returncode == 130


def test_following_a_quiet_task_ends_when_its_reader_leaves(keiji):
    set_up(keiji)
    keiji("task", "run", "t")
    command = [sys.executable, "-m", "keiji", "task", "logs", "t", "--follow"]
    with subprocess.Popen(
        command, env=keiji.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as follower:
        follower.stdout.readline()
        follower.stdout.close()
        complaint = follower.stderr.read()

    assert (follower.returncode, complaint) == (141, b"")


def test_an_editor_opens_an_export_of_the_log(keiji, tmp_path):
    set_up(keiji)
    keiji("task", "run", "t")
    editor = tmp_path / "bin" / "nano"
    editor.parent.mkdir()
    editor.write_text('#!/bin/sh\necho "opened $1"\n')
    editor.chmod(0o755)
    keiji.environment["PATH"] = f"{editor.parent}:{os.environ['PATH']}"

    opened = keiji("task", "--logs", "--name=t", "--nano").stdout.strip().removeprefix("opened ")

    with open(opened) as export:
        assert 'msg="plain"' in export.read()


def test_what_cannot_be_printed_plainly_stays_on_its_line(keiji):
    set_up(keiji, r"def function(): print('tab\t quote\" back\\ esc\x1b[31m ' + 'x' * 5000)" + "\n")
    keiji("task", "run", "t")

    (text,) = [text for _, text in said(keiji("task", "logs", "t", "-n", "1").stdout)]

    assert "\x1b" not in text
    assert "x" * 5000 in text
