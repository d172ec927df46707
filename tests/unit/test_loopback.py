"""The service on a loopback socket: who is let in, who is refused, what is carried out, when it leaves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commanding import Place
from knocking import SOON, Knocker, Served, serving
from recording import an_entry, ended

from keiji import __version__
from keiji.bus import loopback_client, loopback_door, loopback_key
from keiji.bus import loopback_wire as wire
from keiji.bus.loopback import OPERATIONS, LoopbackService, Refusals
from keiji.directives import Verb
from keiji.errors import BusUnavailable
from keiji.folders import Folders

STOP = json.dumps({"op": "stop", "task": "ping", "inside": ""})
DISABLE = json.dumps({"op": "disable", "task": "ping", "inside": ""})


@pytest.fixture
def service(place: Place) -> Iterator[Served]:
    """It serves a place with one task, `ping`; whatever a test does, in the end the service answers."""
    place.add()
    with serving(place) as served:
        yield served
        assert answer_to_ping(place)["version"] == __version__


def answer_to_ping(place: Place) -> dict[str, Any]:
    knocker = Knocker(place.folders)
    knocker.shake_hands()
    return knocker.ask('{"op": "ping"}')


def until(condition: Callable[[], object]) -> None:
    """Wait until it is true."""
    give_up = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def check_refused(place: Place, service: Served, why: str) -> None:
    """It was logged once, no directive was carried out, and the task is as it was."""
    until(lambda: why in service.refusals())
    assert service.refusals()[why] == 1
    assert not [fields for event, fields in service.logged if event == "directive"]
    assert place.host.is_enabled("ping")
    assert place.host.armed == {"ping"}
    assert place.host.logged == []


# -- who is let in -----------------------------------------------------------------------------


def test_who_knows_the_key_has_a_directive_carried_out(place: Place, service: Served) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    answer = knocker.ask(DISABLE)

    assert answer == {"message": "ping: disabled; no further run until it is enabled", "run": ""}
    assert knocker.is_hung_up_on()
    assert not place.host.is_enabled("ping")
    assert service.refusals() == {}


def test_it_says_its_version_and_home(place: Place, service: Served) -> None:
    assert answer_to_ping(place) == {"version": __version__, "home": str(place.folders.home)}


def test_a_refusal_of_the_dispatcher_has_its_name_and_message(place: Place, service: Served) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    answer = knocker.ask('{"op": "stop", "task": "nope"}')

    assert answer["error"] == "io.keiji.Error.NoSuchTask"
    assert "there is no task 'nope'" in answer["message"]


def test_what_may_be_asked_is_a_short_list() -> None:
    assert set(OPERATIONS) == {*(verb.value for verb in Verb), "ping", "shutdown"}


@pytest.mark.parametrize(
    "body",
    [
        '{"op": "send", "task": "ping"}',
        '{"op": "__class__", "task": "ping"}',
        '{"op": "Stop", "task": "ping"}',
        '{"op": ["stop"], "task": "ping"}',
        '{"op": null}',
        '{"task": "ping"}',
        '{"op": "stop"}',
        '{"op": "stop", "task": 7}',
        '{"op": "stop", "task": ["ping"]}',
        '{"op": "stop", "task": "ping", "inside": 7}',
        '{"op": "stop", "task": "ping", "argv": "sh"}',
        '{"op": "stop", "op": "disable", "task": "ping"}',
        '{"op": "ping", "task": "ping"}',
        '{"op": "stop", "task": "\\ud800"}',
        "[]",
        "stop",
        "",
    ],
)
def test_who_knows_the_key_and_talks_nonsense_is_told(place: Place, service: Served, body: str) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    assert knocker.ask(body)["error"] == "io.keiji.Error.UsageError"
    assert place.host.logged == []


@pytest.mark.parametrize("task", ["", "../../etc", "\0", "x" * 60000, "ping\n", "\x1b[2J"])
def test_what_is_no_task_is_refused_in_a_short_line(place: Place, service: Served, task: str) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    answer = knocker.ask(json.dumps({"op": "delete", "task": task}))

    assert answer["error"] == "io.keiji.Error.InvalidName"
    assert len(answer["message"]) < 300


def test_an_answer_of_any_length_and_kind_is_sent(
    place: Place, service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, directive: Any) -> None:
        raise ValueError("\x01\U0001f600\udcff" * 50000)

    monkeypatch.setattr("keiji.dispatcher.Dispatcher.send", fail)
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    answer = knocker.ask(STOP)

    assert answer["error"] == "io.keiji.Error.Unexpected"
    assert answer["message"].startswith("ValueError: \x01")


def test_a_reply_that_can_not_be_said_is_an_error_and_keeps_it_from_nothing(
    place: Place, service: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keiji.dispatcher.Dispatcher.send", lambda self, directive: None)
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    assert knocker.ask(STOP)["error"] == "io.keiji.Error.Unexpected"
    until(lambda: service.door.is_empty)


# -- who is refused ----------------------------------------------------------------------------

OTHER_USER = """
import encodings.idna, json, os, socket, sys  # all, while it can be read
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
path, port = sys.argv[1], int(sys.argv[2])
try:
    open(path).close()
    print("read the key")
except PermissionError:
    pass
try:
    os.rename(path, path + ".old")
    print("moved the key")
except PermissionError:
    pass
connection = socket.create_connection(("127.0.0.1", port))
connection.recv(100)
connection.sendall(json.dumps({"n": "0" * 32, "mac": "0" * 64}).encode() + b"\\n")
print(connection.recv(100))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_another_user_s_process_is_refused(place: Place, service: Served) -> None:
    # Every folder above lets others in, so that the file's own mode is what keeps them out.
    for folder in (place.folders.run, *place.folders.run.parents):
        if folder.stat().st_uid == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    key = loopback_key.path(place.folders)

    done = subprocess.run(
        [sys.executable, "-c", OTHER_USER, str(key), str(service.door.port)], capture_output=True, text=True
    )

    assert (done.stdout, done.stderr) == ("b''\n", "")
    check_refused(place, service, "wrong-key")


def test_a_wrong_key_is_refused_before_anything_can_be_asked(place: Place, service: Served) -> None:
    knocker = Knocker(place.folders, key=b"x" * 32, port=service.door.port)

    with pytest.raises(wire.Refused, match="hung-up"):
        knocker.shake_hands()

    check_refused(place, service, "wrong-key")


def test_a_request_with_a_wrong_proof_is_refused(place: Place, service: Served) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    knocker.say(body=DISABLE, mac=knocker.talk.request(knocker.key, STOP))

    assert knocker.is_hung_up_on()
    check_refused(place, service, "wrong-mac")


def test_what_was_said_once_is_refused_when_it_is_said_again(place: Place, service: Served) -> None:
    first = Knocker(place.folders)
    first.shake_hands()
    claim = {"n": first.talk.client, "mac": first.talk.claim(first.key)}

    second = Knocker(place.folders)
    second.hear(wire.HELLO)
    second.say(**claim)

    assert second.is_hung_up_on()
    check_refused(place, service, "wrong-key")


def test_a_request_of_another_conversation_is_refused(place: Place, service: Served) -> None:
    first, second = Knocker(place.folders), Knocker(place.folders)
    first.shake_hands()
    second.shake_hands()

    second.say(**first.speech(DISABLE))

    assert second.is_hung_up_on()
    check_refused(place, service, "wrong-mac")


def test_the_service_s_own_proof_is_worth_nothing_when_it_is_thrown_back(
    place: Place, service: Served
) -> None:
    knocker = Knocker(place.folders)
    nonce = knocker.hear(wire.HELLO)["n"]
    talk = wire.Talk(nonce, nonce, knocker.port)

    knocker.say(n=nonce, mac=talk.proof(knocker.key))

    assert knocker.is_hung_up_on()
    check_refused(place, service, "wrong-key")


def test_a_second_request_over_the_same_connection_is_not_heard(place: Place, service: Served) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()

    knocker.raw(wire.dump(**knocker.speech(STOP)) + wire.dump(**knocker.speech(DISABLE)))

    assert knocker.is_hung_up_on()
    check_refused(place, service, "out-of-turn")


@pytest.mark.parametrize(
    "request_line",
    [b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n" + STOP.encode() + b"\n"],
)
def test_an_http_request_is_refused_at_its_first_byte(
    place: Place, service: Served, request_line: bytes
) -> None:
    knocker = Knocker(place.folders)
    knocker.hear(wire.HELLO)

    knocker.raw(request_line)

    assert knocker.is_hung_up_on()
    check_refused(place, service, "no-json")


def test_64_kib_and_one_byte_are_refused_from_a_stranger_and_from_a_caller(
    place: Place, service: Served
) -> None:
    stranger, caller = Knocker(place.folders), Knocker(place.folders)
    stranger.hear(wire.HELLO)
    caller.shake_hands()
    for knocker in (stranger, caller):
        knocker.raw(b"{" + b"x" * wire.MOST)
        assert knocker.is_hung_up_on()

    check_refused(place, service, "too-long")


def test_who_sends_slowly_is_cut_off(place: Place, service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback_door, "_HANDSHAKE", 0.7)
    monkeypatch.setattr(loopback_door, "_REQUEST", 1.4)
    stranger, caller = Knocker(place.folders), Knocker(place.folders)
    caller.shake_hands()
    ended = []

    def drip(knocker: Knocker) -> None:
        try:
            knocker.raw(b"{")
            while True:
                knocker.raw(b" ")
                time.sleep(0.02)
        except OSError:
            ended.append(knocker)

    threads = [threading.Thread(target=drip, args=(knocker,)) for knocker in (stranger, caller)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert len(ended) == 2
    check_refused(place, service, "too-slow")


def test_who_says_nothing_or_half_of_it_and_leaves_does_no_harm(place: Place, service: Served) -> None:
    silent, half, whole = (Knocker(place.folders) for _ in range(3))
    silent.close()
    half.shake_hands()
    half.raw(wire.dump(**half.speech(DISABLE))[:-1])
    half.close()
    whole.hear(wire.HELLO)
    whole.raw(b"{")
    whole.connection.shutdown(socket.SHUT_WR)  # writes no more, and still listens

    assert whole.is_hung_up_on()
    until(lambda: service.door.is_empty)
    check_refused(place, service, "hung-up")


def test_who_leaves_before_the_answer_has_it_carried_out(place: Place, service: Served) -> None:
    knocker = Knocker(place.folders)
    knocker.shake_hands()
    knocker.say(**knocker.speech(DISABLE))
    knocker.close()

    until(lambda: not place.host.is_enabled("ping"))
    until(lambda: service.door.is_empty)


def test_many_connections_at_once_keep_nobody_out(place: Place, service: Served) -> None:
    crowd = [Knocker(place.folders) for _ in range(40)]

    assert answer_to_ping(place)["version"] == __version__

    until(lambda: "too-many" in service.refusals())
    for knocker in crowd[:20]:
        knocker.hear(wire.HELLO)
        assert knocker.is_hung_up_on()
    check_refused(place, service, "too-many")


def test_a_flood_keeps_nobody_out(place: Place, service: Served) -> None:
    is_over = threading.Event()

    def flood() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                crowd = [socket.create_connection(("127.0.0.1", service.door.port), 1) for _ in range(20)]
                for connection in crowd:
                    connection.close()

    threads = [threading.Thread(target=flood, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: service.refusals())
        answer = loopback_client.call(place.folders, "Disable", ("ping",), SOON)
    finally:
        is_over.set()
    for thread in threads:
        thread.join(SOON)

    assert answer[0].startswith("ping: disabled")


def test_many_who_know_the_key_are_all_answered(place: Place, service: Served) -> None:
    answers: list[str] = []

    def ask() -> None:
        for _ in range(5):
            answers.append(answer_to_ping(place)["version"])

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert answers == [__version__] * 50
    assert service.refusals() == {}


def test_who_fails_again_and_again_is_logged_once(place: Place, service: Served) -> None:
    for _ in range(30):
        knocker = Knocker(place.folders)
        knocker.raw(b"G")
        knocker.is_hung_up_on()

    check_refused(place, service, "no-json")


@pytest.mark.parametrize("when", ["before the handshake", "after the handshake"])
def test_a_request_after_the_key_was_renewed_is_refused(place: Place, service: Served, when: str) -> None:
    knocker = Knocker(place.folders)
    if when == "after the handshake":
        knocker.shake_hands()
    loopback_key.renew(place.folders, service.door.port)
    if when == "before the handshake":
        with pytest.raises(wire.Refused, match="hung-up"):
            knocker.shake_hands()
        check_refused(place, service, "wrong-key")
    else:
        knocker.say(**knocker.speech(DISABLE))
        assert knocker.is_hung_up_on()
        check_refused(place, service, "wrong-mac")


@pytest.mark.parametrize("how", ["gone", "readable by others"])
def test_without_a_key_to_trust_everybody_is_refused(place: Place, service: Served, how: str) -> None:
    knocker = Knocker(place.folders)
    path = loopback_key.path(place.folders)
    kept = path.read_bytes()
    path.unlink()
    if how != "gone":
        path.write_bytes(kept)
        path.chmod(0o644)

    with pytest.raises(wire.Refused, match="hung-up"):
        knocker.shake_hands()

    check_refused(place, service, "no-key")
    loopback_key.ensure(place.folders, service.door.port)


def test_refusals_are_counted_and_told_when_it_leaves() -> None:
    told: list[dict[str, Any]] = []
    refusals = Refusals(lambda event, **fields: told.append(fields))
    for why in ("a", "b", "a", "a"):
        refusals.tell(why)

    refusals.tell_rest()

    assert [(it["why"], it["times"]) for it in told] == [("a", 1), ("b", 1), ("a", 2)]


# -- leaving -----------------------------------------------------------------------------------


def test_it_leaves_when_idle_and_keeps_its_port_for_the_next(place: Place) -> None:
    with serving(place, idle=0.1) as first:
        until(lambda: ("leaving", {"why": "idle"}) in first.logged)
    with serving(place) as second:
        assert second.door.port == first.door.port
        assert answer_to_ping(place)["version"] == __version__


def test_who_proves_nothing_does_not_keep_it(place: Place) -> None:
    with serving(place, idle=1.0) as service:
        stranger = Knocker(place.folders)
        stranger.hear(wire.HELLO)

        until(lambda: ("leaving", {"why": "idle"}) in service.logged)

        assert stranger.is_hung_up_on()


def test_who_has_proven_to_know_the_key_keeps_it(place: Place) -> None:
    with serving(place, idle=1.0) as service:
        caller = Knocker(place.folders)
        caller.shake_hands()

        time.sleep(1.3)  # that nothing happens has no event to wait for

        assert not service.is_leaving
        assert caller.ask('{"op": "ping"}')["version"] == __version__


def test_shutdown_is_answered_and_it_leaves(place: Place) -> None:
    with serving(place) as service:
        knocker = Knocker(place.folders)
        knocker.shake_hands()

        assert knocker.ask('{"op": "shutdown"}') == {}

        until(lambda: ("leaving", {"why": "asked to shut down"}) in service.logged)


def test_what_is_in_flight_is_finished_and_answered_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add()
    begun, go = threading.Event(), threading.Event()
    real = place.host.set_enabled

    def slow(slug: str, enabled: bool) -> None:
        begun.set()
        go.wait(SOON)
        real(slug, enabled)

    monkeypatch.setattr(place.host, "set_enabled", slow)
    with serving(place) as service:
        knocker = Knocker(place.folders)
        knocker.shake_hands()
        late = Knocker(place.folders)
        late.shake_hands()
        knocker.say(**knocker.speech(DISABLE))
        begun.wait(SOON)
        service.ask_to_go("told to go")
        until(lambda: service.is_leaving)

        assert late.ask('{"op": "ping"}')["version"] == __version__
        go.set()
        said = json.loads(knocker.hear(wire.SPEECH)["body"])

    assert said["message"].startswith("ping: disabled")


def test_two_services_never_serve_one_folder(place: Place) -> None:
    with serving(place), pytest.raises(BusUnavailable, match=f"serves {place.folders.home} already"):
        LoopbackService(place.folders, place.host, 1.0, {})


def test_runs_that_end_while_it_is_up_are_delivered(place: Place, service: Served) -> None:
    answer_to_ping(place)

    place.wait_for_delivery(ended(an_entry()))

    until(lambda: not list(place.folders.done.iterdir()))
    with place.session.store() as store:
        assert len(store.runs("ping")) == 1


def test_a_taken_port_is_left_for_another_one(place: Place) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        key = loopback_key.ensure(place.folders, port).key

        with serving(place) as service:
            found = loopback_key.read(place.folders)
            assert found is not None
            assert found.port == service.door.port != port
            assert found.key == key
            told = ("port taken", {"level": "warning", "port": port, "instead": found.port})
            assert service.logged.count(told) == 1
            assert answer_to_ping(place)["version"] == __version__


def test_sigterm_has_it_leave(tmp_path: Path) -> None:
    environment = {**os.environ, "KEIJI_HOME": str(tmp_path / "h"), "KEIJI_WORKSPACE": str(tmp_path / "w")}
    environment["JOURNAL_STREAM"] = "1:1"  # else what it says would go to a file
    process = subprocess.Popen(
        [sys.executable, "-m", "keiji.bus.loopback"], env=environment, stderr=subprocess.PIPE, text=True
    )
    until((tmp_path / "h" / "run" / "bus.json").exists)
    assert process.stderr
    assert "started version=" in process.stderr.readline()

    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=SOON)

    assert process.returncode == 0
    assert 'why="told to go"' in said


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd-socket-activate")
def test_the_first_call_starts_a_service_whose_socket_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As launchd does it: the port was agreed on before the service ever ran."""
    folders = Folders(tmp_path / "w", tmp_path / "h")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    address = loopback_key.ensure(folders, port)
    environment = {**os.environ, "KEIJI_HOME": str(folders.home), "KEIJI_WORKSPACE": str(folders.workspace)}
    # Of its environment it passes on only what it is told to.
    activate = ["systemd-socket-activate", *(f"--setenv={name}" for name in environment)]
    monkeypatch.setattr(loopback_client, "_HANDSHAKE", SOON)  # a busy machine's Python starts slowly
    process = subprocess.Popen(
        [*activate, f"--listen=127.0.0.1:{port}", sys.executable, "-m", "keiji.bus.loopback"],
        env=environment,
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert "Listening on" in process.stderr.readline()

    answer = loopback_client.call(folders, "Ping", (), SOON)

    assert answer == (__version__, str(folders.home))
    assert loopback_key.read(folders) == address
    loopback_client.call(folders, "Shutdown", (), SOON)
    process.communicate(timeout=SOON)
    assert process.returncode == 0


def test_it_and_its_client_need_nothing_of_d_bus() -> None:
    """On macOS there is neither PyGObject nor pydbus."""
    code = (
        "import sys; sys.modules['gi'] = sys.modules['pydbus'] = None; "
        "import keiji.bus.loopback, keiji.bus.loopback_client, keiji.bus.loopback_watcher"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
