"""What is said over the loopback socket: cut into lines, parsed strictly, proven."""

from __future__ import annotations

import itertools
import json
import socket
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keiji.bus import loopback_wire as wire
from keiji.bus.loopback_wire import CLAIM, HELLO, MOST, PROOF, SPEECH, Line, Refused, Talk

HEX = "0123456789abcdef"
NONCE, MAC = HEX * 2, HEX * 4
KEY = b"k" * 32
on_a_busy_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def texts(**more: Any) -> st.SearchStrategy[str]:
    return st.text(st.characters(blacklist_categories=["Cs"]), **more)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[one:other] for one, other in itertools.pairwise(places)]


@on_a_busy_machine
@given(st.dictionaries(texts(), texts(), max_size=5), st.lists(st.integers(0), max_size=8))
def test_a_line_is_the_same_however_it_is_cut_up(fields: dict[str, str], cuts: list[int]) -> None:
    sent = wire.dump(**fields)
    line = Line()

    found = [line.take(piece) for piece in pieces(sent, cuts)]

    assert found[:-1] == [None] * (len(found) - 1)
    assert wire.load(found[-1]) == fields


@on_a_busy_machine
@given(st.binary(max_size=300), st.lists(st.integers(0), max_size=8))
def test_whatever_comes_is_a_line_or_refused(data: bytes, cuts: list[int]) -> None:
    line = Line()
    for piece in pieces(data, cuts):
        try:
            whole = line.take(piece)
        except Refused:
            return
        if whole is not None:
            assert whole + b"\n" == data[: len(whole) + 1]
            return
    assert b"\n" not in data


@on_a_busy_machine
@given(st.binary(max_size=300) | texts().map(str.encode))
@pytest.mark.parametrize("fields", [HELLO, CLAIM, PROOF, SPEECH])
def test_whatever_a_line_holds_it_is_parsed_or_refused(fields: frozenset[str], data: bytes) -> None:
    try:
        found = wire.parse(data, fields)
    except Refused:
        return
    assert found.keys() == fields


@on_a_busy_machine
@given(st.recursive(st.none() | st.booleans() | st.floats() | texts(), lambda it: st.lists(it)))
def test_a_proof_is_text_of_its_length(value: Any) -> None:
    with pytest.raises(Refused):
        wire.parse(json.dumps({"mac": value}).encode(), PROOF)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'"x"',
        b"{}",
        b'{"mac": "%s", "mac": "%s"}' % (MAC.encode(), MAC.encode()),
        b'{"mac": "%s", "more": 1}' % MAC.encode(),
        b'{"mac": "%s"}' % MAC.upper().encode(),
        b'{"mac": "%s\\n"}' % MAC.encode(),
        b'{"mac": NaN}',
        b'{"mac": "\\ud800"}',
        b'{"mac": "\xff"}',
        b'{"mac":' + b"[" * 60000,
        b'{"mac": ' + b"1" * 60000 + b"}",
    ],
)
def test_nonsense_is_refused(text: bytes) -> None:
    with pytest.raises(Refused) as refused:
        wire.parse(text, PROOF)

    assert refused.value.why == "malformed"


def test_a_line_of_64_kib_is_taken_and_one_byte_more_is_refused() -> None:
    whole = b"{" + b"x" * (MOST - 2) + b"\n"

    assert Line().take(whole) == whole[:-1]
    with pytest.raises(Refused, match="too-long"):
        Line().take(b"{x" + whole[1:])
    with pytest.raises(Refused, match="too-long"):
        wire.dump(body="x" * MOST)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"P", b"\n", b" {}\n", b"\x16\x03\x01"])
def test_what_does_not_begin_as_json_is_refused_at_its_first_byte(said: bytes) -> None:
    with pytest.raises(Refused, match="no-json"):
        Line().take(said[:1])


def test_who_speaks_before_the_turn_is_refused() -> None:
    with pytest.raises(Refused, match="out-of-turn"):
        Line().take(b"{}\n{}\n")


@on_a_busy_machine
@given(st.binary(min_size=32, max_size=32), texts(), texts(), st.integers(1, 65535), st.integers(1, 65535))
def test_no_proof_is_good_for_anything_else(key: bytes, body: str, other: str, port: int, at: int) -> None:
    talk = Talk(NONCE, MAC[:32], port)
    proofs = [
        talk.claim(key),
        talk.proof(key),
        talk.request(key, body),
        talk.answer(key, body),
        talk.claim(bytes(32) if key != bytes(32) else KEY),
        Talk(MAC[:31] + "0", NONCE, port).claim(key),
    ]
    if body != other:
        proofs += [talk.request(key, other), talk.answer(key, other)]
    if port != at:
        proofs.append(Talk(NONCE, MAC[:32], at).claim(key))

    assert len(set(proofs)) == len(proofs)
    assert all(wire.is_hex(proof, 64) for proof in proofs)


def test_who_sends_a_byte_now_and_then_is_cut_off_at_the_end_of_the_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"{")

        with pytest.raises(Refused, match="too-slow"):
            wire.hear(ours, PROOF, time.monotonic() + 0.05)


def test_who_takes_nothing_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair()

    def talk() -> None:
        while True:
            wire.say(ours, time.monotonic() + 0.05, body="x" * 60000)

    with ours, theirs, pytest.raises(Refused, match="too-slow"):
        talk()


def test_who_hangs_up_is_told_from_who_is_slow() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()

        with pytest.raises(Refused, match="hung-up"):
            wire.hear(ours, PROOF, time.monotonic() + 10)
        with pytest.raises(Refused, match="hung-up"):
            wire.say(ours, time.monotonic() + 10, mac=MAC)
