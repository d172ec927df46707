"""The interface describes itself, and errors keep their kind on the wire."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from keiji.bus import interface
from keiji.directives import Verb
from keiji.errors import InvalidName, KeijiError, NoSuchTask, TaskHeld

DOC = "org.gtk.GDBus.DocString"


def members() -> dict[str, ElementTree.Element]:
    node = ElementTree.fromstring(interface.xml())
    return {member.attrib["name"]: member for member in node.findall("interface/*")}


@pytest.mark.parametrize("name", sorted(members()))
def test_each_member_has_a_sentence(name: str) -> None:
    notes = {note.attrib["name"]: note.attrib["value"] for note in members()[name].findall("annotation")}

    assert notes[DOC].endswith(".")
    assert notes[DOC][0].isupper()


@pytest.mark.parametrize("verb", list(Verb))
def test_each_directive_is_a_method_that_takes_a_task_and_says_what_happened(verb: Verb) -> None:
    method = members()[verb.value.capitalize()]

    shape = [(arg.get("direction"), arg.get("name"), arg.get("type")) for arg in method.findall("arg")]

    assert method.tag == "method"
    assert shape == [("in", "task", "s"), ("out", "message", "s"), ("out", "run", "s")]


def kinds(kind: type[KeijiError]) -> list[type[KeijiError]]:
    return [kind, *(each for narrower in kind.__subclasses__() for each in kinds(narrower))]


@pytest.mark.parametrize("kind", kinds(KeijiError), ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_what_it_was(kind: type[KeijiError]) -> None:
    sent = kind("it is so")

    arrived = interface.error_from(interface.error_name(sent), sent.message)

    assert type(arrived) is kind
    assert arrived.message == "it is so"
    assert arrived.exit_status == kind.exit_status


def test_error_names_are_those_that_others_may_rely_on() -> None:
    names = {interface.error_name(kind()) for kind in (NoSuchTask, TaskHeld, InvalidName)}

    assert names == {
        "io.keiji.Error.NoSuchTask",
        "io.keiji.Error.TaskHeld",
        "io.keiji.Error.InvalidName",
    }


def test_an_error_of_an_unknown_name_keeps_its_message() -> None:
    arrived = interface.error_from("io.keiji.Error.FromTheFuture", "no more today")

    assert arrived.message == "no more today"
    assert arrived.exit_status == 1


def test_an_error_that_is_not_keijis_has_a_name_too() -> None:
    assert interface.error_name(ValueError("x")) == "io.keiji.Error.Unexpected"
