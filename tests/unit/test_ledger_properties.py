"""Whatever happens in whatever order: each run that began is recorded exactly once, with its first end."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from recording import an_entry, begin, finish, new_home, ready_store

from keiji import ledger, running
from keiji.errors import StoreUnavailable
from keiji.run import Result
from keiji.runfile import Entry

SLUGS = ("ping", "other")
ENDS = st.sampled_from([Result.SUCCEEDED, Result.FAILED, Result.STOPPED])


class Crash(BaseException):
    """The process is killed here."""


class Life(RuleBasedStateMachine):
    """Runs begin, end, die and are cut off; readers deliver and are killed; helpers speak for the dead."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp())
        self.folders = new_home(self.base)
        self.store = ready_store(self.folders, *SLUGS)
        self.number = 0
        self.boot = 0
        self.alive: dict[str, Entry] = {}
        self.dead: dict[str, Entry] = {}
        self.ended: dict[str, Result] = {}

    def teardown(self) -> None:
        self.power_off()
        ledger.deliver(self.folders, self.store)
        recorded = [run for slug in SLUGS for run in self.store.runs(slug)]
        assert {run.id: run.result for run in recorded} == self.ended
        assert len(recorded) == len(self.ended) == self.number
        assert list(self.folders.done.iterdir()) == []
        self.store.close()
        shutil.rmtree(self.base)

    def _free(self) -> list[str]:
        return [slug for slug in SLUGS if slug not in self.alive and slug not in self.dead]

    @precondition(lambda self: self._free())
    @rule(data=st.data())
    def a_run_begins(self, data: st.DataObject) -> None:
        slug = data.draw(st.sampled_from(self._free()))
        self.number += 1
        self.alive[slug] = an_entry(self.number, slug, boot=str(self.boot))
        begin(self.folders, self.alive[slug])

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), result=ENDS)
    def a_run_ends_by_itself(self, data: st.DataObject, result: Result) -> None:
        entry = self.alive.pop(data.draw(st.sampled_from(sorted(self.alive))))
        finish(self.folders, entry, result)
        self.ended[entry.id] = result

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def a_run_is_killed(self, data: st.DataObject) -> None:
        slug = data.draw(st.sampled_from(sorted(self.alive)))
        self.dead[slug] = self.alive.pop(slug)

    @rule(slug=st.sampled_from(SLUGS), result=ENDS)
    def somebody_speaks_for_a_dead_run(self, slug: str, result: Result) -> None:
        entry = self.dead.pop(slug, None)
        if entry:
            self.ended.setdefault(entry.id, result)
            assert running.end_run(self.folders, slug, entry.id, result)

    @rule(slug=st.sampled_from(SLUGS), result=ENDS)
    def who_speaks_for_a_dead_run_is_killed(self, slug: str, result: Result) -> None:
        entry = self.dead.get(slug)
        if entry and entry.id not in self.ended:
            with mock.patch("keiji.running._clear_running"):
                running.end_run(self.folders, slug, entry.id, result)
            self.ended[entry.id] = result

    @rule(slug=st.sampled_from(SLUGS), number=st.integers(1, 30))
    def somebody_speaks_too_late(self, slug: str, number: int) -> None:
        entry = an_entry(number, slug)
        if entry.id in self.ended and entry.id not in [dead.id for dead in self.dead.values()]:
            assert not running.end_run(self.folders, slug, entry.id, Result.KILLED)

    @rule()
    def power_off(self) -> None:
        self.boot += 1
        for entry in [*self.alive.values(), *self.dead.values()]:
            self.ended.setdefault(entry.id, Result.KILLED)
        cleared = running.clear_leftovers(self.folders, str(self.boot))
        assert len(cleared) == len(self.alive) + len(self.dead)
        self.alive.clear()
        self.dead.clear()

    @rule()
    def somebody_looks(self) -> None:
        ledger.deliver(self.folders, self.store)

    @rule(after=st.integers(0, 3))
    def who_looks_is_killed_among_its_unlinks(self, after: int) -> None:
        unlink, left = Path.unlink, [after]

        def dying(path: Path, missing_ok: bool = False) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            unlink(path, missing_ok)

        with mock.patch.object(Path, "unlink", dying):
            self._look()

    @rule()
    def who_looks_is_killed_before_its_commit(self) -> None:
        with mock.patch.object(self.store, "record_runs", side_effect=Crash):
            self._look()

    @rule()
    def the_database_is_away_at_a_look(self) -> None:
        with mock.patch.object(self.store, "record_runs", side_effect=StoreUnavailable):
            self._look()

    def _look(self) -> None:
        try:
            ledger.deliver(self.folders, self.store)
        except (Crash, StoreUnavailable):
            pass

    @invariant()
    def what_runs_is_what_has_not_ended(self) -> None:
        found = {entry.id for entry in running.running(self.folders)}
        assert found == {entry.id for entry in [*self.alive.values(), *self.dead.values()]}


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
