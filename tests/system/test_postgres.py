"""keiji with its records in PostgreSQL, against the real manager, and while the server is away."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from postgres import PASSWORD

SECRETS = ("hunter2", quote(PASSWORD), quote(PASSWORD, safe=""))
EVERY_SECOND = "Schedule().run().every(1).seconds()"
COUNTS = "from pathlib import Path\n\n\ndef function():\n    with Path({file!r}).open('a') as file:\n"
COUNTS += "        file.write('x')\n"


@pytest.fixture
def server(own_postgres):
    return own_postgres


@pytest.fixture
def shared(keiji, server):
    """The program, with DB_URL set before its first command."""
    keiji.workspace.mkdir()
    (keiji.workspace / "settings.conf").write_text(f"DB_URL={server.url()}\nTIME_ZONE=UTC\n")
    (keiji.workspace / "settings.conf").chmod(0o600)
    keiji("init")
    return keiji


def runs(keiji, name="ping"):
    return json.loads(keiji("task", "history", name, "-n", "1000", "--json").stdout)


def begun(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def test_the_whole_walk(shared, server, wait_for, tmp_path):
    fails = tmp_path / "fails"
    shared.write_task("ping", "def function():\n    print('Pinging…')\n", EVERY_SECOND)
    shared.write_task(
        "broken", f"import os\ndef function():\n    assert not os.path.exists({str(fails)!r})\n", EVERY_SECOND
    )
    fails.touch()
    shared("task", "build", "--all")
    shared("system", "start")
    wait_for(lambda: len(runs(shared)) >= 3, "three firings")
    wait_for(lambda: "held" in shared("task", "list").stdout, "the hold")

    record = json.loads(shared("task", "get", "broken", "--json").stdout)
    assert (record["is_error"], record["host"]) == (True, os.uname().nodename)
    shared("task", "run", "broken", status=1)
    fails.unlink()
    assert "resolved" in shared("task", "resolve", "broken").stdout
    wait_for(lambda: runs(shared, "broken")[0]["result"] == "succeeded", "a success")
    shared("task", "disable", "broken")
    rows = json.loads(shared("task", "list", "--all-hosts", "--json").stdout)
    assert [(row["name"], row["state"] in ("armed", "running")) for row in rows] == [
        ("broken", False),
        ("ping", True),
    ]
    shared("task", "delete", "broken")
    assert server.sql("SELECT slug FROM task", "keiji") == [["ping"]]
    assert shared("system", "update").stdout.splitlines()[-1].startswith("updated")
    assert not (shared.home / "db" / "keiji.db").exists()
    shared("system", "uninstall", "--yes")
    assert [server.sql(f"SELECT * FROM {table}", "keiji") for table in ("task", "run", "host")] == [[]] * 3


def test_runs_go_on_while_the_server_is_away_and_all_are_recorded(shared, server, wait_for, tmp_path):
    file = tmp_path / "count"
    shared.write_task("ping", COUNTS.format(file=str(file)), EVERY_SECOND)
    shared("task", "build", "ping")
    shared("system", "start")
    wait_for(lambda: len(runs(shared)) >= 1, "a first record")

    for end, begin in ((server.kill, server.start), (server.stop, server.start)):
        end()
        before = begun(file)
        away = shared("task", "list", status=1)
        assert away.stderr.count("\n") == 1
        assert "connection refused" in away.stderr
        shared("task", "stop", "ping")
        wait_for(lambda before=before: begun(file) >= before + 2, "runs without a database")
        begin()
        before = begun(file)
        wait_for(lambda before=before: len(runs(shared)) >= before, "the records of those")
    shared("system", "stop")
    wait_for(lambda: not list((shared.home / "run" / "running").iterdir()), "the last end")

    assert len(runs(shared)) == begun(file)


def test_the_bus_outlives_its_servers_restart(shared, server):
    shared.write_task("ping", "def function():\n    pass\n", "Schedule().run().every(1).hours()")
    shared("task", "build", "ping")
    for verb in ("disable", "enable"):
        shared("task", verb, "ping")
        server.stop("immediate")
        server.start()
        assert json.loads(shared("task", "get", "ping", "--json").stdout)["is_disabled"] is (
            verb == "disable"
        )
    server.kill()
    refused = shared("task", "delete", "ping", status=1)
    assert "connection refused" in refused.stderr
    server.start()
    assert "deleted" in shared("task", "delete", "ping").stdout


def test_the_password_stands_in_the_settings_and_nowhere_else(shared, server, wait_for):
    said = []
    shared.write_task("ping", "def function():\n    pass\n", EVERY_SECOND)
    for words in (["task", "build", "ping"], ["system", "start"], ["doctor", "--json"], ["task", "list"]):
        done = shared(*words, status=None)
        said.append(done.stdout + done.stderr)
    settings = shared.workspace / "settings.conf"
    text = settings.read_text()
    for wrong in (text.replace("hunter2", "hunter2x"), text.replace("127.0.0.1", "no.host.invalid"), text):
        settings.write_text(wrong)
        if wrong is text:
            server.kill()
        for words in (["task", "list"], ["task", "get", "ping"], ["doctor"], ["task", "disable", "ping"]):
            for debug in ([], ["--debug"]):
                done = shared(*debug, *words, status=None)
                said.append(done.stdout + done.stderr)
    server.start()
    shared("task", "enable", "ping")
    wait_for(lambda: runs(shared), "a run")
    journal = subprocess.run(
        ["journalctl", "--user", "-o", "json"], capture_output=True, text=True, check=True
    )
    said.append(journal.stdout)
    for folder in (shared.home, Path(os.environ["XDG_CONFIG_HOME"]), Path(os.environ["XDG_DATA_HOME"])):
        files = [path for path in folder.rglob("*") if path.is_file() and "venv" not in path.parts]
        said += [path.read_bytes().decode("utf-8", "replace") for path in files]

    assert len(said) > 20
    assert not [secret for secret in SECRETS for text in said if secret in text]


def test_uninstall_goes_through_while_the_server_is_away_and_says_what_stays(shared, server):
    shared.write_task("ping", "def function():\n    pass\n", EVERY_SECOND)
    shared("task", "build", "ping")
    server.kill()

    gone = shared("system", "uninstall", "--yes")

    assert "stays there" in gone.stderr
    assert not shared.home.exists()
