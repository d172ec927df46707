"""What is news of a task's state."""

from __future__ import annotations

import pytest
from commanding import Place
from recording import an_entry

from keiji import files
from keiji.bus.changes import Changes
from keiji.errors import HostFailed
from keiji.testing import broken


@pytest.fixture
def changes(place: Place) -> Changes:
    return Changes(place.folders, place.host)


def test_a_state_is_told_once(place, changes):
    place.add()

    assert changes.tell(["ping"]) == {"ping": "armed"}
    assert changes.tell(["ping"]) == {}
    place.hold()
    assert changes.tell(["ping"]) == {"ping": "held"}


def test_what_was_learnt_is_no_news(place, changes):
    place.add("a")
    place.add("b")
    place.write("c")
    changes.learn(list)
    place.host.disarm(["b"])
    place.host.set_enabled("b", False)

    assert changes.tell(["a", "b", "c"]) == {"b": "disabled"}


def test_what_may_have_changed_while_the_states_were_learnt_is_told(place, changes):
    place.add("a")
    place.add("b")
    changes.learn(lambda: ["b", "gone"])

    assert changes.tell(["a", "b", "gone"]) == {"b": "armed", "gone": "deleted"}


def test_only_the_tasks_in_doubt_are_told(place, changes):
    place.add("a")
    place.add("b")
    changes.learn(list)
    for name in ("a", "b"):
        place.hold(name)

    assert changes.tell(["b"]) == {"b": "held"}


def test_each_word_of_a_tasks_life_is_told(place, changes):
    changes.learn(list)
    told = []
    place.write()
    told += [changes.tell(["ping"])]
    place.add()
    told += [changes.tell(["ping"])]
    place.folders.requested("ping").touch()
    told += [changes.tell(["ping"])]
    place.begin(an_entry())
    told += [changes.tell(["ping"])]
    place.folders.running("ping").unlink()
    place.folders.requested("ping").unlink()
    place.host.stop_system()
    told += [changes.tell(["ping"])]
    for path in place.host.unit_files("ping"):
        path.unlink()
    told += [changes.tell(["ping"])]

    words = ["created", "armed", "queued", "running", "built", "created"]
    assert told == [{"ping": word} for word in words]


def test_a_deleted_task_is_told_once_and_may_come_back(place, changes):
    place.add()
    changes.learn(list)
    for path in place.host.unit_files("ping"):
        path.unlink()

    assert changes.tell(["ping"]) == {"ping": "deleted"}
    assert changes.tell(["ping"]) == {}
    place.write()
    assert changes.tell(["ping"]) == {"ping": "created"}


def test_what_never_was_a_task_is_not_told(changes):
    assert changes.tell(["nonsense"]) == {}


def test_a_task_that_was_built_anew_is_told_when_all_of_it_is_done(place, changes):
    place.add()
    changes.learn(list)
    place.mark()
    files.link(place.folders.current("ping"), "b2")

    assert changes.tell(["ping"]) == {}
    place.folders.stale("ping").unlink()
    assert changes.tell(["ping"]) == {"ping": "armed"}
    assert changes.tell(["ping"]) == {}


def test_a_state_is_told_at_once_although_the_task_is_being_changed(place, changes):
    place.add()
    changes.learn(list)
    place.mark()
    place.begin(an_entry())

    assert changes.tell(["ping"]) == {"ping": "running"}


def test_a_task_is_not_gone_before_its_deletion_is_done(place, changes):
    place.add()
    changes.learn(list)
    place.mark()
    for path in place.host.unit_files("ping"):
        path.unlink()

    assert changes.tell(["ping"]) == {}
    place.folders.stale("ping").unlink()
    assert changes.tell(["ping"]) == {"ping": "deleted"}


def test_a_manager_that_does_not_answer_loses_no_change(place, changes, monkeypatch):
    place.add()

    def fail(slugs: object) -> None:
        raise broken()

    with monkeypatch.context() as patched:
        patched.setattr(place.host, "timers", fail)
        with pytest.raises(HostFailed):
            changes.tell(["ping"])

    assert changes.tell([]) == {"ping": "armed"}


def test_the_manager_is_asked_once_for_all(place, changes, monkeypatch):
    asked = []
    timers = place.host.timers
    monkeypatch.setattr(place.host, "timers", lambda slugs: asked.append(list(slugs)) or timers(slugs))
    for name in ("a", "b", "c"):
        place.add(name)

    changes.tell(["a", "b", "c", "gone"])

    assert [sorted(slugs) for slugs in asked] == [["a", "b", "c"]]
