"""The bus on a loopback socket, run by the real manager: who is refused, and how it is looked after."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from socket_wire import SocketWire
from wire import UNIT, WireError

import keiji as package

pytestmark = pytest.mark.parametrize("transport", ["loopback"], indirect=True)

QUICK = "def function():\n    print('hello')\n"
YEARLY = 'Schedule().cron("0 0 1 1 *")'
# Somebody else with the rights of nobody: reads what can be read, and asks for a stop without a proof.
OTHER_USER = """
import encodings.idna, json, os, socket, sys  # all, while it can be read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    os.stat(sys.argv[1])
    print("sees the key")
except PermissionError:
    pass
with socket.create_connection(("127.0.0.1", int(sys.argv[2]))) as bus:
    bus.recv(1000)
    bus.sendall(json.dumps({"n": "0" * 32, "mac": "0" * 64}).encode() + b"\\n")
    print(bus.recv(1000))
"""


@pytest.fixture
def task(keiji) -> str:
    """A built task, due next year, in a started system."""
    keiji("init")
    keiji.write_task("ping", QUICK, YEARLY)
    keiji("task", "build", "ping")
    keiji("system", "start")
    return "ping"


@pytest.fixture
def wire(keiji, task) -> SocketWire:
    """The service is up."""
    wire = SocketWire(keiji.home)
    wire.call("Ping")
    return wire


def address(keiji) -> dict[str, object]:
    return json.loads((keiji.home / "run" / "bus.json").read_text())


def refusals(keiji) -> list[str]:
    return [line for line in keiji("system", "logs", "--bus").stdout.splitlines() if "refused" in line]


def test_init_names_what_it_installs_and_only_once(keiji):
    printed = keiji("init").stdout

    assert [line for line in printed.splitlines() if "Bus1" in line] == [f"installed {UNIT}"]
    assert keiji("init").stdout == "everything is there already; nothing changed\n"


def test_another_user_s_process_is_refused_and_logged_once(keiji, wire, systemctl, wait_for):
    for _ in range(3):
        key = str(keiji.home / "run" / "bus.json")
        done = subprocess.run(
            [sys.executable, "-c", OTHER_USER, key, str(address(keiji)["port"])],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.stderr) == ("b''\n", "")

    (line,) = wait_for(lambda: refusals(keiji), "the refusal to be logged")
    assert "refused why=wrong-key times=1" in line
    assert systemctl("is-active", "keiji-ping.timer") == "active"
    assert wire.call("Ping")[0] == package.__version__


def test_a_squatter_at_the_port_of_a_service_that_left_gets_nothing(keiji, wire, systemctl):
    port = address(keiji)["port"]
    systemctl("stop", UNIT)
    with socket.create_server(("127.0.0.1", port)) as squatter:
        printed = keiji("task", "disable", "ping").stdout

        assert printed.startswith("ping: disabled")
        assert address(keiji)["port"] != port
        squatter.settimeout(10)
        connection, _ = squatter.accept()
        assert connection.recv(1000) == b""  # it has to speak first, and is not asked anything


def test_directives_answer_with_what_happened(keiji, wire, systemctl):
    assert wire.call("Disable", "ping") == ("ping: disabled; no further run until it is enabled", "")
    assert systemctl("is-enabled", "keiji-ping.timer") == "disabled"
    assert wire.call("Enable", "ping")[0].startswith("ping: enabled; armed, next time ")
    message, run = wire.call("Run", "ping")
    assert message == f"ping: run {run} began"
    with pytest.raises(WireError, match="there is no task"):
        wire.call("Stop", "nope")
    assert wire.call("Delete", "ping")[0].startswith("ping: deleted")


def test_runs_are_delivered_while_the_service_is_up(keiji, wire, wait_for):
    wire.call("Run", "ping")

    wait_for(lambda: not list((keiji.home / "run" / "running").iterdir()), "the run to end")
    wait_for(lambda: not list((keiji.home / "run" / "done").iterdir()), "the record to be delivered")


def test_stopped_it_stays_down_whoever_calls_until_it_is_started(keiji, wire, systemctl):
    assert "bus                ONLINE" in keiji("system", "status").stdout

    keiji("system", "stop", "--bus")

    assert "bus                OFFLINE" in keiji("system", "status").stdout
    assert keiji("task", "stop", "ping", status=1).stderr.startswith("keiji: the bus is stopped: ")
    assert systemctl("is-active", UNIT) == "inactive"
    keiji("system", "start", "--bus")
    assert "bus                ONLINE" in keiji("system", "status").stdout
    keiji("task", "stop", "ping")


def test_a_service_that_was_killed_would_answer_the_next_call(keiji, wire, systemctl, wait_for):
    systemctl("kill", "--signal=KILL", UNIT)
    wait_for(lambda: systemctl("is-active", UNIT) == "failed", "its end")

    assert "bus                ONLINE" in keiji("system", "status").stdout
    keiji("task", "disable", "ping")


def test_a_service_that_hangs_is_given_up_and_restarted(keiji, wire, systemctl):
    pid = int(wire.owner())
    os.kill(pid, signal.SIGSTOP)
    try:
        printed = keiji("task", "stop", "ping", status=1).stderr
        assert "OFFLINE" in keiji("system", "status", "--bus").stdout
    finally:
        os.kill(pid, signal.SIGCONT)

    assert printed.startswith("keiji: nobody who listens at 127.0.0.1:")
    assert "without it, `systemctl --user stop keiji-ping.timer keiji-ping.service` stops" in printed
    keiji("system", "restart", "--bus")
    keiji("task", "stop", "ping")


@pytest.mark.parametrize("harm", ["removed", "readable by others", "damaged"])
def test_a_restart_makes_a_key_that_is_not_to_be_trusted_anew(keiji, wire, harm):
    path = keiji.home / "run" / "bus.json"
    before = address(keiji)["key"]
    if harm == "removed":
        path.unlink()
    elif harm == "damaged":
        path.write_text("{")
    else:
        path.chmod(0o644)

    assert "`keiji system restart --bus`" in keiji("task", "stop", "ping", status=1).stderr
    keiji("system", "restart", "--bus")

    keiji("task", "stop", "ping")
    assert address(keiji)["key"] != before
    assert path.stat().st_mode & 0o777 == 0o600


def test_neither_client_takes_the_other_transport_s_service_for_its_own(keiji, wire):
    on_dbus = type(keiji)(keiji.workspace, keiji.home, {**keiji.environment, "KEIJI_BUS": "dbus"})

    assert "on a loopback socket: `export KEIJI_BUS" in on_dbus("task", "stop", "ping", status=1).stderr
    on_dbus("init")
    on_dbus("task", "stop", "ping")
    assert "on the session bus: `unset KEIJI_BUS`" in keiji("task", "stop", "ping", status=1).stderr
    keiji("init")
    keiji("task", "stop", "ping")


def test_the_service_of_another_home_is_refused(keiji, wire, systemctl):
    other = keiji.home.parent / "other"
    (other / "run").mkdir(parents=True)
    drop_in = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", f"{UNIT}.d", "test.conf")
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f'[Service]\nEnvironment="KEIJI_HOME={other}"\n')
    systemctl("stop", UNIT)
    systemctl("daemon-reload")
    # As after `cp -a` of a system folder: the same key.
    (other / "run" / "bus.json").write_bytes((keiji.home / "run" / "bus.json").read_bytes())
    (other / "run" / "bus.json").chmod(0o600)

    printed = keiji("task", "disable", "ping", status=2).stderr

    assert printed == (
        f"keiji: the bus that runs here serves the keiji in {other}: use that one (KEIJI_HOME={other})\n"
    )
    assert systemctl("is-enabled", "keiji-ping.timer") == "enabled"


def test_an_uninstall_leaves_nobody_listening(keiji, wire):
    port = address(keiji)["port"]

    keiji("system", "uninstall", "--yes")

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert not keiji.home.exists()


def test_systemd_finds_nothing_to_say_about_the_unit(keiji):
    keiji("init")
    unit = Path(os.environ["XDG_DATA_HOME"], "systemd", "user", UNIT)

    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", unit], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
