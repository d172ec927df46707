"""The bus is killed between any two steps of any directive: what comes next finds or makes all agree."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from socket_wire import SocketWire
from wire import UNIT, Wire, WireError

LONG = "import time\n\n\ndef function():\n    time.sleep(600)\n"
YEARLY = 'Schedule().cron("0 0 1 1 *")'
MOST = 40  # steps; no directive has as many
SLUG = "ping"


class Place:
    """A started system with one task, and a service that dies when it is told to."""

    def __init__(self, keiji, systemctl, wait_for, transport: str) -> None:
        self.keiji, self.systemctl, self.wait_for = keiji, systemctl, wait_for
        self.wire = Wire() if transport == "dbus" else SocketWire(keiji.home)
        self.order = keiji.home.parent / "die-at"
        keiji("init")
        keiji.write_task(SLUG, LONG, YEARLY)
        keiji("task", "build", SLUG)
        keiji("system", "start")
        folder = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", f"{UNIT}.d")
        folder.mkdir(parents=True)
        words = [sys.executable, str(Path(__file__).with_name("dying_bus.py")), str(self.order), transport]
        (folder / "dying.conf").write_text(f"[Service]\nExecStart=\nExecStart={' '.join(words)}\n")
        systemctl("daemon-reload")

    def is_killed_at(self, step: int, verb: str) -> bool:
        """Give the directive and have the service die before that step; False if there is none such."""
        self.order.write_text(str(step))
        try:
            self.wire.call(verb, SLUG)
        except WireError as problem:
            if problem.name != "org.freedesktop.DBus.Error.NoReply":
                raise
            return True
        return False

    def call(self, verb: str) -> None:
        """A directive that is carried out or refused, as is right by now."""
        try:
            self.wire.call(verb, SLUG)
        except WireError as problem:
            if not problem.name.startswith("io.keiji.Error."):
                raise

    def begin_run(self) -> None:
        if not self.run("running").exists():
            self.wire.call("Run", SLUG)
            self.wait_for(self.run("running").exists, "the run to begin")

    def run(self, folder: str) -> Path:
        return self.keiji.home / "run" / folder / SLUG

    def prepare(self, state: str) -> None:
        """Bring the task into a state, whatever it is in."""
        if self.systemctl("is-enabled", f"keiji-{SLUG}.timer") in ("", "not-found"):
            self.keiji("task", "build", SLUG)
        if self.run("held").exists():
            self.wire.call("Resolve", SLUG)
        self.wire.call("Disable" if state == "disabled" else "Enable", SLUG)
        if state == "running":
            self.begin_run()
        elif self.run("running").exists():
            self.wire.call("Stop", SLUG)
        if state == "held":
            self.begin_run()
            self.systemctl("kill", "--signal=KILL", f"keiji-{SLUG}.service")
            self.wait_for(self.run("held").exists, "the task to be held")
            self.wait_for(lambda: not self.run("running").exists(), "the run to be judged")

    def check_agreement(self) -> None:
        """What units, latch and record say of the task is one."""
        told = json.loads(self.keiji("task", "get", "--json").stdout)
        records = {entry["slug"]: entry for entry in told}
        timer = f"keiji-{SLUG}.timer"
        is_active = self.systemctl("is-active", timer) == "active"
        for name in ("stale", "stopping"):
            assert not self.run(name).exists(), name
        if SLUG not in records:
            units = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user")
            assert not list(units.glob(f"**/keiji-{SLUG}.*"))
            assert not is_active
            assert not (self.keiji.home / "exec" / "tasks" / SLUG).exists()
            assert not self.run("held").exists()
            return
        record = records[SLUG]
        assert record["is_disabled"] is (self.systemctl("is-enabled", timer) != "enabled")
        assert record["is_error"] is self.run("held").exists()
        assert is_active is (not record["is_disabled"] and not record["is_error"])
        assert record["is_running"] is is_active
        if not self.run("running").exists():
            assert not record["is_queued"]


@pytest.fixture
def place(keiji, systemctl, wait_for, transport) -> Place:
    return Place(keiji, systemctl, wait_for, transport)


def by_directive(place: Place) -> None:
    place.call("Stop")


def by_update(place: Place) -> None:
    place.keiji("system", "update")


EACH = [
    ("Run", "armed"),
    ("Stop", "running"),
    ("Restart", "running"),
    ("Enable", "disabled"),
    ("Disable", "running"),
    ("Resolve", "held"),
    ("Delete", "running"),
]


@pytest.mark.parametrize(
    ("verb", "state", "transport"),
    # What comes after the transport is the same: of the other one two are enough.
    [*((*it, "dbus") for it in EACH), *((*it, "loopback") for it in EACH if it[0] in ("Disable", "Delete"))],
    indirect=["transport"],
)
def test_all_agrees_again_after_the_next_directive_or_update(place: Place, verb: str, state: str) -> None:
    nexts: tuple[Callable[[Place], None], ...] = (by_directive, by_update)
    for step in range(1, MOST):
        place.prepare(state)
        if not place.is_killed_at(step, verb):
            break
        nexts[step % 2](place)
        place.check_agreement()
    else:
        pytest.fail(f"{verb} has no end")
    assert step > 3
    place.check_agreement()
