"""Whatever happens to a task: the real manager, asked over the real bus, agrees with `lifecycle`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from wire import Wire, WireError

from keiji import lifecycle
from keiji.directives import Verb
from keiji.lifecycle import Life

SLUG = "ping"
TIMER, SERVICE = f"keiji-{SLUG}.timer", f"keiji-{SLUG}.service"
LONG = "import time\n\n\ndef function():\n    time.sleep(600)\n"
YEARLY = 'Schedule().cron("0 0 1 1 *")'
SOON = 30.0  # seconds until a test gives up


class Place:
    """keiji in a started system, and what is true of its one task as units, links and files say it."""

    def __init__(self, keiji, systemctl) -> None:
        self.keiji, self.systemctl, self.wire = keiji, systemctl, Wire()
        keiji("init")
        keiji.write_task(SLUG, LONG, YEARLY)
        keiji("system", "start")

    def life(self) -> Life:
        folder, units = self.keiji.home / "run", Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user")
        return Life(
            has_source=True,
            is_built=(units / TIMER).exists(),
            is_enabled=self.systemctl("is-enabled", TIMER) == "enabled",
            is_held=(folder / "held" / SLUG).exists(),
            is_running=(folder / "running" / SLUG).exists(),
            is_queued=(folder / "requested" / SLUG).exists(),
            is_started=self.systemctl("is-active", "keiji.target") == "active",
        )

    def is_armed(self) -> bool:
        return self.systemctl("is-active", TIMER) == "active"

    def wait(self, is_so: Callable[[], bool], what: str) -> None:
        give_up = time.monotonic() + SOON
        while not is_so():
            assert time.monotonic() < give_up, f"waited in vain for {what}"
            time.sleep(0.01)

    def record(self) -> dict[str, object]:
        return dict(self.wire.call("GetTask", SLUG)[0])


class Happenings(RuleBasedStateMachine):
    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.life = self.place.life()
        if not self.life.is_built:
            self.build()

    def build(self) -> None:
        self.place.keiji("task", "build", SLUG)
        self.life = replace(self.life, is_built=True, is_enabled=True)

    @precondition(lambda self: not self.life.is_built)
    @rule()
    def build_it_again(self) -> None:
        self.build()

    @rule(is_started=st.booleans())
    def start_or_stop_system(self, is_started: bool) -> None:
        self.place.keiji("system", "start" if is_started else "stop", "--scheduler")
        self.life = replace(self.life, is_started=is_started)

    @precondition(lambda self: self.life.is_armed and not self.life.is_running)
    @rule()
    def fire(self) -> None:
        self.place.systemctl("start", "--no-block", SERVICE)
        self.life = replace(self.life, is_running=True)

    @precondition(lambda self: self.life.is_running)
    @rule()
    def be_killed(self) -> None:
        self.place.systemctl("kill", "--signal=KILL", SERVICE)
        self.life = replace(self.life, is_running=False, is_held=True)

    @rule(verb=st.sampled_from(Verb))
    def direct(self, verb: Verb) -> None:
        refusal = lifecycle.refusal(self.life, verb)
        try:
            self.place.wire.call(verb.value.capitalize(), SLUG)
            met = None
        except WireError as problem:
            met = problem.name
        assert met == (refusal and refusal().wire_name)
        if not refusal:
            self.life = lifecycle.follow(self.life, verb)

    @invariant()
    def all_agree(self) -> None:
        place = self.place
        # A run makes its file, and a verdict is spoken, soon after the manager has done its part.
        place.wait(lambda: place.life() == self.life, f"{self.life}, it is {place.life()}")
        assert place.is_armed() is self.life.is_armed
        if self.life.is_built:
            record = place.record()
            assert record["State"] == str(self.life.state)
            assert record["IsDisabled"] is not self.life.is_enabled
            assert record["IsError"] is self.life.is_held


def test_whatever_happens_the_manager_agrees_with_the_state_machine(keiji, systemctl) -> None:
    Happenings.place = Place(keiji, systemctl)
    run_state_machine_as_test(
        Happenings,
        settings=settings(
            max_examples=4,
            stateful_step_count=20,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # to make a failure shorter takes minutes
            suppress_health_check=[*HealthCheck],
        ),
    )


def test_a_task_is_stopped_and_disabled_though_the_settings_are_broken(keiji, systemctl, wait_for):
    keiji("init")
    keiji.write_task(
        "t", "import time\ndef function():\n    time.sleep(600)\n", "Schedule().run().every(1).hours()"
    )
    keiji("task", "build", "t")
    keiji("system", "start")
    systemctl("start", "--no-block", "keiji-t.service")
    wait_for((keiji.home / "run" / "running" / "t").exists, "the run")
    settings = keiji.workspace / "settings.conf"
    settings.write_text("DB_URL=postgres//u:hunter2@h/d\n")

    refused = keiji("task", "enable", "t", status=1).stderr
    assert refused.startswith(f"keiji: {settings}, line 1: DB_URL must be ")
    stopped, disabled = (keiji("task", verb, "t") for verb in ("stop", "disable"))

    assert "stopped; the schedule goes on" in stopped.stdout
    assert systemctl("is-enabled", "keiji-t.timer") == "disabled"
    keiji("system", "stop")
    journal = systemctl("status", "-n", "100", "io.keiji.Bus1.service")
    assert "hunter2" not in journal + refused + stopped.stderr + disabled.stderr
    settings.write_text("TIME_ZONE=UTC\n")
    assert "stopped" in keiji("task", "history", "t").stdout
