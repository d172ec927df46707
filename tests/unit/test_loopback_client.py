"""The client of the loopback socket: finds the service, starts it, and trusts nobody else at its port."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from commanding import Place
from knocking import serving

from keiji.bus import client, loopback_client, loopback_key
from keiji.bus import loopback_wire as wire
from keiji.bus.loopback_client import LoopbackClient
from keiji.bus.loopback_wire import Talk
from keiji.directives import Directive, Reply, Verb
from keiji.errors import BusUnavailable, NoSuchTask, UsageError

DISABLE = Directive(Verb.DISABLE, "ping")


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test is inside a run."""
    monkeypatch.delenv("INVOCATION_ID", raising=False)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for who will never answer."""
    monkeypatch.setattr(loopback_client, "PING", 1.0)
    monkeypatch.setattr(loopback_client, "_HANDSHAKE", 1.0)
    monkeypatch.setattr(loopback_client, "_STRANGER", 0.1)
    monkeypatch.setattr(client, "_DIRECTIVE", 1.0)


@contextmanager
def listening(place: Place, talk: Callable[[socket.socket], None]) -> Iterator[list[socket.socket]]:
    """Somebody listens at the port of the file and does this with whoever comes; who came."""
    listener = socket.create_server(("127.0.0.1", 0))
    loopback_key.ensure(place.folders, listener.getsockname()[1])
    came: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
                came.append(connection)
                talk(connection)
            except (OSError, wire.Refused):
                if listener.fileno() < 0:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield came
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
    for connection in came:
        connection.close()


def send(place: Place, directive: Directive = DISABLE) -> Any:
    return LoopbackClient(place.folders, place.host).send(directive)


def test_a_directive_is_carried_out_and_answered(place: Place) -> None:
    place.add()
    with serving(place):
        reply = send(place)

    assert reply.message == "ping: disabled; no further run until it is enabled"
    assert not place.host.is_enabled("ping")


def test_errors_come_back_as_what_they_were(place: Place) -> None:
    with serving(place), pytest.raises(NoSuchTask, match="there is no task 'nope'"):
        send(place, Directive(Verb.STOP, "nope"))


def test_the_run_from_inside_which_it_is_given_goes_along(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Directive] = []

    def take(self: object, directive: Directive) -> Reply:
        seen.append(directive)
        return Reply("done")

    monkeypatch.setenv("INVOCATION_ID", "r1")
    monkeypatch.setattr("keiji.dispatcher.Dispatcher.send", take)
    with serving(place):
        send(place)

    assert seen == [Directive(Verb.DISABLE, "ping", "r1")]


def test_one_that_does_not_run_is_started(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add()
    loopback_key.ensure(place.folders, free_port())
    with serving_on_start(place, monkeypatch):
        assert send(place).message.startswith("ping: disabled")


def test_a_squatter_learns_nothing_and_the_service_takes_another_port(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add()
    heard: list[dict[str, Any]] = []

    def squat(connection: socket.socket) -> None:
        wire.say(connection, time.monotonic() + 1, v=1, n="0" * 32)
        heard.append(wire.hear(connection, wire.CLAIM, time.monotonic() + 1))
        wire.say(connection, time.monotonic() + 1, mac="0" * 64)
        heard.append(wire.hear(connection, wire.SPEECH, time.monotonic() + 1))

    with listening(place, squat), serving_on_start(place, monkeypatch):
        assert send(place).message.startswith("ping: disabled")

    (claim,) = heard  # no request
    key = loopback_key.read(place.folders)
    assert key is not None
    assert key.key.hex() not in json.dumps(claim)


def test_a_silent_squatter_is_not_waited_for_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add()
    with listening(place, lambda connection: None) as came, serving_on_start(place, monkeypatch):
        assert send(place).message.startswith("ping: disabled")

    assert len(came) == 1


@pytest.mark.parametrize("verb", Verb)
def test_what_can_be_had_without_the_service_is_told_where_it_can_not_be_reached(
    place: Place, verb: Verb
) -> None:
    place.host.bus_stays_down = True

    with pytest.raises(BusUnavailable, match="the bus is stopped") as told:
        send(place, Directive(verb, "ping"))

    by_hand = "without it, `memory stop ping` stops the task"
    assert (by_hand in told.value.message) == (verb in (Verb.STOP, Verb.RESTART, Verb.DISABLE, Verb.DELETE))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400\r\n", b"{" + b"x" * wire.MOST, b'{"v": 2, "n": ""}\n'])
def test_who_stays_at_the_port_and_is_not_keiji_is_told_with_the_remedy(place: Place, said: bytes) -> None:
    with listening(place, lambda connection: connection.sendall(said)), pytest.raises(BusUnavailable) as told:
        send(place)

    assert told.value.message.startswith("nobody who listens at 127.0.0.1:")
    assert "`keiji system restart --bus`" in told.value.message


@pytest.mark.usefixtures("hasty")
def test_another_version_of_the_conversation_is_told_with_the_remedy(place: Place) -> None:
    def talk(connection: socket.socket) -> None:
        wire.say(connection, time.monotonic() + 1, v=2, n="0" * 32)
        wire.hear(connection, wire.CLAIM, time.monotonic() + 1)
        wire.say(connection, time.monotonic() + 1, mac="0" * 64)

    with listening(place, talk), pytest.raises(BusUnavailable, match="is keiji's bus"):
        send(place)


def as_service(place: Place, *answers: bytes) -> Callable[[socket.socket], None]:
    """A service that knows the key, and answers each request in turn with the next of these."""
    left = list(answers)

    def talk(connection: socket.socket) -> None:
        address = loopback_key.read(place.folders)
        assert address is not None
        until = time.monotonic() + 5
        wire.say(connection, until, v=1, n="0" * 32)
        talk = Talk("0" * 32, wire.hear(connection, wire.CLAIM, until)["n"], address.port)
        wire.say(connection, until, mac=talk.proof(address.key))
        asked = json.loads(wire.hear(connection, wire.SPEECH, until)["body"])
        if asked["op"] == "ping":
            body = json.dumps({"version": client.__version__, "home": str(place.folders.home)})
            wire.say(connection, until, body=body, mac=talk.answer(address.key, body))
        elif left:
            connection.sendall(left.pop(0))
            connection.close()

    return talk


@pytest.mark.parametrize(
    "answer", [b"", wire.dump(body="{}", mac="0" * 64), b'{"body": "{}"', b'{"body": 1, "mac": 2}\n']
)
def test_an_answer_that_is_not_the_service_s_is_none(place: Place, answer: bytes) -> None:
    with listening(place, as_service(place, answer)), pytest.raises(BusUnavailable) as told:
        send(place)

    assert told.value.message.startswith("the bus ended before it answered")


@pytest.mark.usefixtures("hasty")
def test_who_never_answers_is_given_up(place: Place) -> None:
    with listening(place, as_service(place)), pytest.raises(BusUnavailable) as told:
        send(place)

    assert told.value.message.startswith("the bus did not answer within 1 s")


def test_a_service_with_our_key_and_another_home_is_refused(place: Place, tmp_path: Any) -> None:
    from keiji.folders import Folders

    copied = Folders(tmp_path / "other-workspace", tmp_path / "other")
    with serving(place):
        address = loopback_key.read(place.folders)
        assert address is not None
        loopback_key.write(copied, address)

        with pytest.raises(UsageError, match=f"serves the keiji in {place.folders.home}: use that one"):
            LoopbackClient(copied, place.host).send(DISABLE)


def test_a_key_that_others_may_read_is_not_used(place: Place) -> None:
    with serving(place) as service:
        loopback_key.path(place.folders).chmod(0o644)

        with pytest.raises(BusUnavailable, match=r"bus.json may be read by others \(mode 0644\): `keiji"):
            send(place)

        assert service.refusals() == {}  # not even a connection


def test_ping_tells_who_answers_and_starts_nothing(place: Place) -> None:
    assert loopback_client.ping(place.folders) is None
    with serving(place):
        assert loopback_client.ping(place.folders) == (client.__version__, str(place.folders.home))
    assert loopback_client.ping(place.folders) is None
    assert not place.host.bus_runs


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextmanager
def serving_on_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service runs once the manager is asked to start it."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        started: list[object] = []

        def start() -> None:
            if not started:
                started.append(stack.enter_context(serving(place)))

        monkeypatch.setattr(place.host, "start_bus", start)
        yield
        assert started
