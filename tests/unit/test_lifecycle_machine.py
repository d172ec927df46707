"""Whatever happens to a task, and in whatever order: all that is true of it agrees with `lifecycle`."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from commanding import Place
from directing import Faults, Killed, Reset, Stage, die, disagreements
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from keiji import arming, latches, lifecycle, running
from keiji.commands.housekeeping import keep_house
from keiji.commands.verdict import judge
from keiji.directives import Verb
from keiji.errors import KeijiError
from keiji.lifecycle import Life
from keiji.run import Result

VERBS = st.sampled_from(Verb)
STEPS = st.integers(1, 25)


class Happenings(RuleBasedStateMachine):
    """`life` is what must be true, `results` how each run must have ended."""

    stage: Stage
    reset: Reset

    @initialize()
    def begin(self) -> None:
        self.reset()
        self.life = self.stage.life()
        self.results: dict[str, Result] = {}
        self.builds = 0

    # -- the system, builds and firings -----------------------------------------------------

    @rule(is_started=st.booleans())
    def start_or_stop_system(self, is_started: bool) -> None:
        self.stage.host.start_system() if is_started else self.stage.host.stop_system()
        self.life = replace(self.life, is_started=is_started)

    @rule()
    def build(self) -> None:
        """What a build does with the manager; its units are new each time."""
        stage, self.builds = self.stage, self.builds + 1
        is_new = not self.life.is_built
        if is_new:
            stage.place.add()
            self.life = replace(self.life, is_built=True, is_enabled=True)
        units = dict.fromkeys(stage.host.unit_files("ping"), f"of build {self.builds}")
        arming.write_units(stage.folders, "ping", units)
        arming.bring_up(stage.folders, stage.host, ["ping"])

    @precondition(lambda self: self.life.is_armed and not self.life.is_running)
    @rule()
    def fire(self) -> None:
        self.stage.host.start_run("ping")
        self.life = replace(self.life, is_running=True)

    @precondition(lambda self: self.life.is_running)
    @rule(is_held=st.booleans())
    def end(self, is_held: bool) -> None:
        """The run ends by itself; where it failed, it latches, and the manager's handler comes."""
        stage, run = self.stage, self._run()
        self.results[run] = Result.FAILED if is_held else Result.SUCCEEDED
        if is_held:
            latches.write_latch(stage.folders, "ping", run, Result.FAILED, "no")
        running.end_run(stage.folders, "ping", run, self.results[run])
        die(stage.host, result="exit-code" if is_held else "success", status=int(is_held))
        judge(stage.folders, stage.host, "ping")
        self.life = replace(self.life, is_running=False, is_held=self.life.is_held or is_held)

    @precondition(lambda self: self.life.is_running)
    @rule(verb=VERBS, is_judged=st.booleans())
    def be_killed(self, verb: Verb, is_judged: bool) -> None:
        """The run dies without a word; the manager's handler comes, or a directive is there first."""
        self.results[self._run()] = Result.KILLED
        die(self.stage.host, result="signal", by_signal=True, status=9)
        if is_judged:
            judge(self.stage.folders, self.stage.host, "ping")
        self.life = replace(self.life, is_running=False, is_held=True)
        self.direct(verb, False)

    # -- directives ----------------------------------------------------------------------------

    @rule(verb=VERBS, is_inside=st.booleans())
    def direct(self, verb: Verb, is_inside: bool) -> None:
        run = self._run()
        refused = lifecycle.refusal(self.life, verb)
        if refused:
            with pytest.raises(refused):
                self.stage.send(verb)
        else:
            self.stage.send(verb, inside=run if is_inside else "")
            self._follow(lifecycle.follow(self.life, verb, is_inside and self.life.is_running), run)

    @precondition(lambda self: self.life.is_built)
    @rule(verb=VERBS, step=STEPS)
    def direct_and_fail(self, verb: Verb, step: int) -> None:
        """Whatever the host, the database or the disk refuses, it is done or nothing has changed."""
        run = self._run()
        try:
            with Faults(self.stage, questions=True).at_step(step):
                self.stage.send(verb)
            then = lifecycle.follow(self.life, verb)
        except KeijiError:
            then = replace(self.life, is_running=self.stage.life().is_running)
            assert verb is Verb.DELETE or then == self.life
        self._follow(then, run)
        self._wait_an_hour()  # a record of the run that could not be written

    @precondition(lambda self: self.life.is_built)
    @rule(verb=VERBS, step=STEPS)
    def direct_and_be_killed(self, verb: Verb, step: int) -> None:
        """What was being changed is as before or as after."""
        run = self._run()
        try:
            with Faults(self.stage).at_step(killing=step):
                self.stage.send(verb)
        except (Killed, KeijiError):
            pass
        self._wait_an_hour()
        now = self.stage.life()
        done = lifecycle.follow(self.life, verb) if not lifecycle.refusal(self.life, verb) else self.life
        for name, value in vars(now).items():
            assert value in (getattr(self.life, name), getattr(done, name)), name
        self._follow(now, run)

    # -- what must be true ---------------------------------------------------------------------

    @invariant()
    def all_agree(self) -> None:
        if hasattr(self, "life"):
            assert self.stage.life() == self.life
            assert disagreements(self.stage) == []

    @rule()
    def the_record_says_what_is_true(self) -> None:
        self.stage.dispatcher().mend("ping")
        if self.life.is_built:
            latch = latches.latch(self.stage.folders, "ping")
            with self.stage.place.session.store() as store:
                assert not store.mend("ping", not self.life.is_enabled, latch.error if latch else None)

    def teardown(self) -> None:
        if hasattr(self, "life") and self.life.is_built:
            self._wait_an_hour()
            with self.stage.place.session.store() as store:
                assert {run.id: run.result for run in store.runs("ping")} == self.results

    # -- parts ---------------------------------------------------------------------------------

    def _run(self) -> str:
        """The run in progress."""
        return self.stage.host.ending("ping").run if self.life.is_running else ""

    def _follow(self, then: Life, run: str) -> None:
        if self.life.is_running and not then.is_running:
            self.results[run] = Result.STOPPED
        if not then.is_built:
            self.results = {}
        self.life = then

    def _wait_an_hour(self) -> None:
        with redirect_stdout(io.StringIO()):
            keep_house(self.stage.place.session)


def test_whatever_happens_all_agree(place: Place) -> None:
    Happenings.stage = Stage(place, Life(True, True, is_enabled=True, is_started=True))
    Happenings.reset = Reset(Happenings.stage)
    run_state_machine_as_test(
        Happenings,
        settings=settings(
            max_examples=150,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
