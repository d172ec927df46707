"""The server of the database stops, dies, freezes or cuts connections while tasks fire and the bus is up."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from counting import EVERY_HOUR, Counted, build, fire
from postgres import PASSWORD
from relay import Relay

GONE = {"stop": "start", "kill": "start", "freeze": "thaw"}


_LISTENS = """
from gi.repository import Gio, GLib
name = "io.keiji.Bus1"
Gio.bus_get_sync(Gio.BusType.SESSION).call_sync(
    name, "/io/keiji/Bus1", name, "Subscribe", None, None, Gio.DBusCallFlags.NONE, -1, None
)
print(flush=True)
GLib.MainLoop().run()
"""


@contextmanager
def bus_up(systemctl):
    """One process of the bus, up for somebody who listens to it."""
    with subprocess.Popen([sys.executable, "-c", _LISTENS], stdout=subprocess.PIPE) as listener:
        listener.stdout.readline()
        pid = systemctl("show", "--property=MainPID", "io.keiji.Bus1.service")
        try:
            yield
            assert systemctl("show", "--property=MainPID", "io.keiji.Bus1.service") == pid != "MainPID=0"
        finally:
            listener.terminate()


def use(keiji, url):
    """Have keiji keep its records there."""
    keiji.workspace.mkdir()
    (keiji.workspace / "settings.conf").write_text(f"DB_URL={url}\nTIME_ZONE=UTC\n")
    keiji("init")


def recorded(server, task):
    """The ids of the task's runs, as the server itself has them."""
    query = f"SELECT run.id FROM run JOIN task ON run.task = task.id WHERE slug = '{task.slug}'"
    return sorted(row[0] for row in server.sql(query, "keiji"))


@pytest.mark.parametrize("way", GONE)
def test_a_server_that_is_gone_costs_no_run_its_record(
    keiji, wait_for, systemctl, own_postgres, tmp_path, way
):
    use(keiji, own_postgres.url(connect_timeout="2"))
    going = Counted(keiji, tmp_path, f"going {way}")
    off = Counted(keiji, tmp_path, f"off {way}")
    ended = Counted(keiji, tmp_path, f"ended {way}", "import time\ntime.sleep(600)", EVERY_HOUR)
    tasks = (going, off, ended)
    build(keiji)
    fire(ended)
    wait_for(lambda: all(task.begun() for task in tasks), "each to fire")

    with bus_up(systemctl):
        getattr(own_postgres, way)()
        before = len(going.begun())
        wait_for(lambda: len(going.begun()) > before, "a record that waits")
        needing = (("task", "list"), ("task", "history", going.slug), ("task", "get", "--json"))
        with ThreadPoolExecutor() as pool:
            refused = [pool.submit(keiji, *words, status=1) for words in needing]
            assert "stopped; the schedule goes on" in keiji("task", "stop", ended.slug).stdout
            assert "disabled" in keiji("task", "disable", off.slug).stdout
            said = [it.result().stderr for it in refused]
        wait_for(lambda: len(going.begun()) > before + 2, "runs that go on")
        getattr(own_postgres, GONE[way])()
        # Nobody looks: the bus delivers what has waited together with what ends now.
        count = len(going.begun())
        wait_for(lambda: len(recorded(own_postgres, going)) > count, "the bus to deliver")

    for line in said:
        assert line.count("\n") == 1
        assert "database" in line
    for task in tasks:
        task.rest(wait_for)
        assert task.is_complete()
        assert recorded(own_postgres, task) == sorted(task.begun())
    no_password(keiji, *said)


def test_connections_that_are_cut_at_any_moment_lose_and_double_nothing(
    keiji, wait_for, systemctl, own_postgres, tmp_path
):
    with Relay(own_postgres.port) as relay:
        use(keiji, own_postgres.url_at(relay.port))
        going = Counted(keiji, tmp_path, "cut off")
        build(keiji)
        wait_for(going.begun, "a run")
        with bus_up(systemctl):
            for cut_after in range(0, 4000, 333):
                relay.cut_after = cut_after
                subprocess.run(
                    [sys.executable, "-m", "keiji", "task", "list"],
                    env=keiji.environment,
                    capture_output=True,
                )
                own_postgres.cut()
            wait_for(lambda: len(going.begun()) > 3, "runs amid the cuts")
        going.rest(wait_for)
        relay.cut_after = None
        assert going.is_complete()


def no_password(keiji, *said):
    """Neither what was printed nor any log tells the password."""
    journal = subprocess.check_output(["journalctl", "--quiet", "--no-pager", "-o", "verbose"], text=True)
    for secret in (PASSWORD, quote(PASSWORD, safe="")):
        assert secret not in journal + "".join(said) + keiji("doctor", status=1).stdout
