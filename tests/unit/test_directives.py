"""Each directive in each state, against the host in memory."""

from __future__ import annotations

import json
import uuid

import pytest

from keiji import files, latches, running
from keiji.directives import Directive, Verb
from keiji.dispatcher import Dispatcher
from keiji.errors import HostFailed, NoSuchTask, TaskBusy, TaskHeld, TaskNotBuilt
from keiji.folders import Folders
from keiji.run import Result
from keiji.schedule import Schedule
from keiji.settings import Settings
from keiji.store import open_store
from keiji.task import Task
from keiji.testing import MemoryHost, broken

RUN_FILE = (
    "keiji 1\nid={run}\ntask={slug}\nbuild=b1\npid=1\nboot=boot-1\nwhy=manual\nbegan=1795000000.000000\n"
)


class Desk:
    """A dispatcher with a built, enabled, armed task called `ping`."""

    def __init__(self, base):
        self.folders = Folders(base / "keiji", base / ".keiji")
        for folder in (*self.folders.made(), self.folders.tasks / "ping", self.folders.home / "units"):
            folder.mkdir(parents=True, exist_ok=True)
        self.host = MemoryHost(self.folders, self.begin)
        self.dispatcher = Dispatcher(self.folders, self.host, self.store)
        with self.store() as store:
            store.migrate()
            schedule = Schedule().run().every(10).seconds()
            store.save_task(Task("ping", "pings", schedule, "b1", store.host, str(uuid.uuid4())))
        files.write(self.host.unit_files("ping")[0], "unit")
        build = self.folders.builds("ping") / "b1"
        build.mkdir(parents=True)
        (build / "build.json").write_text(json.dumps({"schedule": schedule.to_dict()}))
        files.link(self.folders.current("ping"), "b1")
        self.host.units["ping"] = True
        self.host.start_system()

    def store(self):
        return open_store(Settings(self.folders))

    def begin(self, slug, run):
        files.write(self.folders.running(slug), RUN_FILE.format(run=run, slug=slug))

    def send(self, verb, name="ping"):
        return self.dispatcher.send(Directive(Verb(verb), name))

    def hold(self):
        latches.write_latch(self.folders, "ping", "a" * 32, Result.FAILED, "ValueError: no")
        self.host.disarm(["ping"])

    def snapshot(self):
        """Manager, latch and record."""
        with self.store() as store:
            tasks = store.tasks()
        return (dict(self.host.units), set(self.host.armed), latches.latch(self.folders, "ping"), tasks)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_run_begins_a_run_and_gives_its_id(desk):
    reply = desk.send("run")

    assert running.running_entry(desk.folders, "ping").id == reply.run


def test_run_is_refused_while_a_run_goes_on(desk):
    desk.send("run")

    with pytest.raises(TaskBusy):
        desk.send("run")


def test_run_of_a_held_task_is_refused_and_names_the_way_out(desk):
    desk.hold()

    with pytest.raises(TaskHeld, match="keiji task resolve ping"):
        desk.send("run")


def test_run_of_a_disabled_task_is_allowed(desk):
    desk.send("disable")

    assert desk.send("run").run


def test_a_run_that_cannot_begin_leaves_no_request_behind(desk):
    desk.host.faults["start_run"] = broken()

    with pytest.raises(HostFailed):
        desk.send("run")

    assert not desk.folders.requested("ping").exists()


@pytest.mark.parametrize("verb", ["stop", "restart", "disable"])
def test_a_run_that_is_ended_on_purpose_is_recorded_as_stopped(desk, verb):
    run = desk.send("run").run

    assert desk.send(verb).run == run

    assert "result=stopped" in (desk.folders.done / run).read_text()
    assert not desk.folders.stopping("ping").exists()
    assert latches.latch(desk.folders, "ping") is None


def test_stop_leaves_the_schedule_armed(desk):
    desk.send("stop")

    assert "ping" in desk.host.armed


def test_disable_disarms_and_enable_arms(desk):
    desk.send("disable")
    assert ("ping" in desk.host.armed, desk.host.is_enabled("ping")) == (False, False)

    desk.send("enable")
    assert ("ping" in desk.host.armed, desk.host.is_enabled("ping")) == (True, True)


def test_enable_never_lifts_a_hold(desk):
    desk.hold()

    reply = desk.send("enable")

    assert "held" in reply.message
    assert "ping" not in desk.host.armed
    assert latches.latch(desk.folders, "ping")


def test_resolve_of_a_disabled_task_does_not_arm_it(desk):
    desk.send("disable")
    desk.hold()

    desk.send("resolve")

    assert latches.latch(desk.folders, "ping") is None
    assert "ping" not in desk.host.armed


def test_resolve_of_a_task_that_is_not_held_changes_nothing(desk):
    before = desk.snapshot()

    assert "not held" in desk.send("resolve").message
    assert desk.snapshot() == before


def test_while_the_system_is_stopped_nothing_is_armed(desk):
    desk.host.stop_system()
    desk.hold()

    for verb in ("resolve", "disable", "enable", "restart"):
        desk.send(verb)

    assert desk.host.armed == set()


@pytest.mark.parametrize(("verb", "held", "disabled"), [("enable", False, True), ("resolve", True, False)])
def test_an_arming_that_fails_puts_everything_back(desk, verb, held, disabled):
    if disabled:
        desk.send("disable")
    if held:
        desk.hold()
    before = desk.snapshot()
    desk.host.faults["arm"] = broken()

    with pytest.raises(HostFailed):
        desk.send(verb)

    assert desk.snapshot() == before


def test_delete_leaves_the_source_and_nothing_else(desk):
    desk.send("run")

    desk.send("delete")

    assert (desk.folders.tasks / "ping").is_dir()
    assert not desk.host.is_installed("ping")
    assert not desk.folders.builds("ping").exists()
    with desk.store() as store:
        assert store.tasks() == []
    assert [
        path for path in desk.folders.run.rglob("*") if path.is_file() and "locks" not in path.parts
    ] == []


def test_a_delete_that_was_cut_short_can_be_given_again(desk):
    desk.host.faults["reload"] = broken()
    with pytest.raises(HostFailed):
        desk.send("delete")

    desk.send("delete")

    with desk.store() as store:
        assert store.tasks() == []


@pytest.mark.parametrize("verb", ["stop", "disable"])
def test_stop_and_disable_need_no_database(desk, verb):
    desk.folders.database.unlink()
    desk.folders.database.mkdir()

    desk.send(verb)


@pytest.mark.parametrize("verb", list(Verb))
def test_a_task_that_does_not_exist_is_named(desk, verb):
    with pytest.raises(NoSuchTask, match="nobody"):
        desk.send(verb, "nobody")


@pytest.mark.parametrize("verb", list(Verb))
def test_a_task_that_was_never_built_is_told_so(desk, verb):
    (desk.folders.tasks / "new").mkdir()

    with pytest.raises(TaskNotBuilt, match="keiji task build new"):
        desk.send(verb, "new")
