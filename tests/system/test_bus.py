"""The bus service, started on demand by the real manager: on the real session bus, or a loopback socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gi.repository import GLib
from socket_wire import SocketWire
from wire import NAME, UNIT, Wire, WireError

import keiji as package

QUICK = "def function():\n    print('hello')\n"
LONG = "import time\n\n\ndef function():\n    time.sleep(600)\n"
STUBBORN = """\
import os, signal, time


def function():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    open({deaf!r}, "w").close()
    while not os.path.exists({go!r}):
        time.sleep(0.02)
"""
FAILING = "def function():\n    raise ValueError('no')\n"
YEARLY = 'Schedule().cron("0 0 1 1 *")'
EACH_MEMBER = {
    *("Run", "Stop", "Restart", "Enable", "Disable", "Resolve", "Delete", "ListTasks", "GetTask"),
    *("Ping", "Subscribe", "Unsubscribe", "Shutdown", "Version", "Tasks", "TaskChanged", "RunFinished"),
}


on_both = pytest.mark.parametrize("transport", ["dbus", "loopback"], indirect=True)


@pytest.fixture
def connect(keiji, transport) -> Callable[[], Wire | SocketWire]:
    """Makes another connection to the bus."""
    return Wire if transport == "dbus" else lambda: SocketWire(keiji.home)


@pytest.fixture
def wire(connect) -> Iterator[Wire | SocketWire]:
    connection = connect()
    yield connection
    connection.close()


@pytest.fixture
def task(keiji) -> str:
    """A built task, due next year, in a started system."""
    keiji("init")
    keiji.write_task("ping", QUICK, YEARLY)
    keiji("task", "build", "ping")
    keiji("system", "start")
    return "ping"


@pytest.fixture
def served_by(systemctl) -> Callable[..., Path]:
    """`served_by(*python_arguments)`: has the service started so; the drop-in that says it."""

    def serve(*arguments: str) -> Path:
        folder = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", f"{UNIT}.d")
        folder.mkdir(parents=True, exist_ok=True)
        words = " ".join(f'"{word}"' for word in (sys.executable, *arguments))
        (folder / "test.conf").write_text(f"[Service]\nExecStart=\nExecStart={words}\n")
        systemctl("stop", UNIT)
        systemctl("daemon-reload")
        return folder / "test.conf"

    return serve


@pytest.fixture
def go(keiji, task, wire, wait_for, tmp_path) -> Path:
    """A run of the task "stubborn" is in progress: it ignores SIGTERM, and ends once this file is there."""
    deaf, go = tmp_path / "deaf", tmp_path / "go"
    keiji.write_task("stubborn", STUBBORN.format(deaf=str(deaf), go=str(go)), YEARLY)
    keiji("task", "build", "stubborn")
    wire.call("Run", "stubborn")
    wait_for(deaf.exists, "the run to be deaf")
    return go


def is_up(systemctl) -> bool:
    return systemctl("show", "-p", "ActiveState", "--value", UNIT) == "active"


def processes_of_keiji() -> list[str]:
    """The command lines of keiji's processes, but for the test's own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith("keiji") for word in words[1:]) and "pytest" not in words:
            found.append(" ".join(words))
    return found


# -- on demand ---------------------------------------------------------------------------------


def test_a_call_of_any_program_starts_the_service(keiji, task, wire, systemctl) -> None:
    assert not is_up(systemctl)

    done = subprocess.run(
        ["busctl", "--user", "call", NAME, "/io/keiji/Bus1", NAME, "Ping"], capture_output=True, text=True
    )

    assert done.stdout.strip() == f'ss "{package.__version__}" "{keiji.home}"'
    assert is_up(systemctl)


@on_both
def test_a_directive_of_the_command_line_starts_the_service(keiji, task, systemctl) -> None:
    keiji("task", "stop", task)

    assert is_up(systemctl)


@on_both
def test_looking_starts_no_service(keiji, task, systemctl) -> None:
    for words in ("task list", "task get", "task history ping", "task next ping", "system status"):
        keiji(*words.split())

    assert not is_up(systemctl)


@on_both
def test_the_idle_service_leaves_and_keiji_has_no_process(
    keiji, task, wire, served_by, systemctl, wait_for, transport
) -> None:
    served_by("-m", f"keiji.bus.{transport}", "--idle", "0.3")
    keiji("task", "stop", task)

    wait_for(lambda: not wire.owner(), "the service to leave")
    wait_for(lambda: not is_up(systemctl), "the unit to be done")

    assert systemctl("show", "-p", "Result", "--value", UNIT) == "success"
    wait_for(lambda: not processes_of_keiji(), "keiji's processes to be gone")
    assert systemctl("is-active", "keiji.target") == "active"


def test_a_service_whose_log_nobody_takes_any_more_answers_and_leaves(
    keiji, task, wire, served_by, systemctl, wait_for
) -> None:
    """As after a crash of the journal, which closes every stream to it."""
    served_by(
        "-c",
        "import os, sys; from keiji.bus import dbus; reader, writer = os.pipe(); os.dup2(writer, 2); "
        "os.close(reader); sys.argv = ['x', '--idle', '0.3']; dbus.main()",
    )

    assert wire.call("Stop", task)[0].startswith("ping: ")

    wait_for(lambda: not is_up(systemctl), "the service to leave")
    assert systemctl("show", "-p", "Result", "--value", UNIT) == "success"


@on_both
def test_no_call_is_lost_while_the_service_leaves_again_and_again(task, wire, served_by, transport) -> None:
    served_by("-m", f"keiji.bus.{transport}", "--idle", "0.05")

    for number in range(12):
        assert wire.call("Ping")[0] == package.__version__
        time.sleep(0.03 + number * 0.01)  # now before, now after, now while it leaves


def test_a_watcher_keeps_the_service_until_it_leaves_the_bus(
    task, wire, served_by, systemctl, wait_for
) -> None:
    served_by("-m", "keiji.bus.dbus", "--idle", "0.2")
    watcher = Wire()
    watcher.call("Subscribe")
    owner = wire.owner()

    time.sleep(1)  # that nothing happens has no event to wait for
    assert wire.owner() == owner

    watcher.close()
    wait_for(lambda: not wire.owner(), "the service to leave after its watcher")


def test_a_watcher_that_unsubscribes_keeps_the_service_no_longer(task, wire, served_by, wait_for) -> None:
    served_by("-m", "keiji.bus.dbus", "--idle", "0.2")
    wire.call("Subscribe")

    wire.call("Unsubscribe")

    wait_for(lambda: not wire.owner(), "the service to leave")


@on_both
def test_shutdown_is_answered_and_the_service_leaves(task, wire, systemctl, wait_for) -> None:
    wire.call("Shutdown")

    wait_for(lambda: not is_up(systemctl), "the service to leave")
    assert systemctl("show", "-p", "Result", "--value", UNIT) == "success"


# -- the interface -----------------------------------------------------------------------------


def test_introspection_has_a_sentence_for_each_member(task, wire) -> None:
    node = ElementTree.fromstring(wire.introspect())
    members = node.findall(f"interface[@name='{NAME}']/*")
    sentences = {
        member.attrib["name"]: member.findall("annotation[@name='org.gtk.GDBus.DocString']")
        for member in members
    }

    assert set(sentences) == EACH_MEMBER
    assert all(found and found[0].attrib["value"].endswith(".") for found in sentences.values())


def test_directives_answer_with_what_happened(keiji, task, wire, systemctl) -> None:
    message, run = wire.call("Disable", task)

    assert message == "ping: disabled; no further run until it is enabled"
    assert run == ""
    assert systemctl("is-enabled", "keiji-ping.timer") == "disabled"
    assert wire.call("Enable", task)[0].startswith("ping: enabled; armed, next time ")
    assert systemctl("is-enabled", "keiji-ping.timer") == "enabled"
    assert wire.call("Stop", task)[0] == "ping: nothing was running; the schedule goes on"
    assert wire.call("Resolve", task)[0] == "ping: it was not held; nothing changed"
    assert wire.call("Restart", task)[0].startswith("ping: armed, next time ")
    message, run = wire.call("Run", task)
    assert message == f"ping: run {run} began"
    assert wire.call("Delete", task)[0].startswith("ping: deleted")
    assert wire.call("ListTasks") == ([],)


def test_records_are_those_of_the_command_line(keiji, task, wire) -> None:
    printed = dict(line.split(":", 1) for line in keiji("task", "get", task).stdout.splitlines()[1:])
    printed = {name: value.strip() for name, value in printed.items()}

    (record,) = wire.call("GetTask", task)
    (records,) = wire.call("ListTasks")

    shown = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in record.items()
    }
    assert shown.pop("State") == "armed"
    assert shown.pop("Host") == os.uname().nodename
    assert {**shown, "LastExecutionTime": shown["LastExecutionTime"] or "N/A"} == printed
    assert records == [record]


def test_properties_name_the_version_and_the_tasks(task, wire) -> None:
    assert wire.get("Version") == package.__version__
    assert wire.get("Tasks") == [task]


@pytest.mark.parametrize(
    ("method", "name", "words", "error"),
    [
        ("Stop", "nope", "task stop nope", "NoSuchTask"),
        ("Stop", "../x", "task stop ../x", "InvalidName"),
        ("Run", "held", "task run held", "TaskHeld"),
        ("Enable", "unbuilt", "task enable unbuilt", "TaskNotBuilt"),
        ("GetTask", "nope", "task get nope", "NoSuchTask"),
    ],
)
def test_errors_have_names_and_the_command_lines_message(
    keiji, task, wire, wait_for, method: str, name: str, words: str, error: str
) -> None:
    keiji("task", "create", "unbuilt", "--desc", "x")
    if name == "held":
        keiji.write_task("held", FAILING, YEARLY)
        keiji("task", "build", "held")
        keiji("task", "run", "held", status=1)

    with pytest.raises(WireError) as refused:
        wire.call(method, name)
    printed = keiji(*words.split(), status=2 if error == "InvalidName" else 1).stderr

    assert refused.value.name == f"io.keiji.Error.{error}"
    assert printed == f"keiji: {refused.value.message}\n"


def test_what_systemd_refuses_is_told_in_its_own_words(keiji, task, systemctl) -> None:
    unit = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", f"keiji-{task}.service")
    unit.write_text("[Service]\nType=oneshot\nExecStart=\n")
    systemctl("daemon-reload")

    printed = keiji("task", "run", task, status=1).stderr

    assert f"Unit {unit.name} has a bad unit file setting" in printed


def test_busy_is_an_error_of_its_own(keiji, task, wire) -> None:
    keiji.write_task("long", LONG, YEARLY)
    keiji("task", "build", "long")
    wire.call("Run", "long")

    with pytest.raises(WireError) as refused:
        wire.call("Run", "long")

    assert refused.value.name == "io.keiji.Error.TaskBusy"
    wire.call("Stop", "long")


# -- signals -----------------------------------------------------------------------------------


def test_the_end_of_a_run_is_told_within_200_ms(keiji, task, wire) -> None:
    keiji.write_task("failing", FAILING, YEARLY)
    keiji("task", "build", "failing")
    wire.listen()

    _, run = wire.call("Run", task)
    _, failed = wire.call("Run", "failing")
    wire.wait(lambda signals: len([it for it in signals if it.name == "RunFinished"]) == 2, "two ends")

    ends = {it.words[1]: it for it in wire.signals if it.name == "RunFinished"}
    assert {it.words for it in ends.values()} == {(task, run, "succeeded"), ("failing", failed, "failed")}
    for slug in (task, "failing"):
        (entry,) = json.loads(keiji("task", "history", slug, "--json").stdout)
        assert ends[entry["id"]].at - datetime.fromisoformat(entry["ended"]).timestamp() < 0.2


def test_changes_of_a_tasks_state_are_told_whoever_makes_them(keiji, task, wire) -> None:
    keiji.write_task("failing", FAILING, YEARLY)
    wire.listen()

    def wait_for_state(name: str, state: str) -> None:
        wire.wait(lambda signals: any(it.words == (name, state) for it in signals), f"{name} {state}")
        wire.signals.clear()

    keiji("task", "build", "failing")
    wait_for_state("failing", "armed")
    keiji("task", "run", "failing", status=1)
    wait_for_state("failing", "held")
    keiji("task", "resolve", "failing")
    wait_for_state("failing", "armed")
    keiji("system", "stop", "--scheduler")
    wait_for_state(task, "built")
    keiji("system", "start")
    wait_for_state(task, "armed")
    keiji("task", "disable", task)
    wait_for_state(task, "disabled")
    subprocess.run(["systemctl", "--user", "enable", "--now", "keiji-ping.timer"], check=True)
    wait_for_state(task, "armed")
    keiji("task", "delete", "failing")
    wait_for_state("failing", "created")


def test_who_watches_the_properties_is_told_of_new_tasks(keiji, task, wire) -> None:
    wire.listen()
    keiji.write_task("second", QUICK, YEARLY)

    keiji("task", "build", "second")

    changed = (NAME, {"Tasks": ["ping", "second"]}, [])
    wire.wait(lambda signals: any(it.words == changed for it in signals), "PropertiesChanged")


def test_runs_are_delivered_while_the_service_is_up(keiji, task, wire, wait_for) -> None:
    wire.listen()

    wire.call("Run", task)
    wire.wait(lambda signals: any(it.name == "RunFinished" for it in signals), "the end")

    wait_for(lambda: not list((keiji.home / "run" / "done").iterdir()), "the record to be delivered")


# -- side by side ------------------------------------------------------------------------------


@on_both
def test_a_stop_that_takes_long_keeps_nobody_else_waiting(
    keiji, task, wire, connect, go, wait_for, transport
) -> None:
    stopper = connect()
    ended = threading.Event()
    stopping = threading.Thread(target=lambda: (stopper.call("Stop", "stubborn"), ended.set()))
    stopping.start()
    wait_for(lambda: (keiji.home / "run" / "stopping" / "stubborn").exists(), "the stop to begin")

    for method, *words in (("Ping",), ("Disable", task), ("Enable", task), ("ListTasks",)):
        if transport == "dbus" or method != "ListTasks":
            wire.call(method, *words)

    assert not ended.is_set()
    go.touch()
    stopping.join()
    assert ended.is_set()
    assert '"stopped"' in keiji("task", "history", "stubborn", "--json").stdout


@on_both
def test_what_is_in_flight_is_finished_when_the_service_is_told_to_go(
    keiji, go, connect, systemctl, wait_for
) -> None:
    answers = []
    stopping = threading.Thread(target=lambda: answers.append(connect().call("Stop", "stubborn")))
    stopping.start()
    wait_for(lambda: (keiji.home / "run" / "stopping" / "stubborn").exists(), "the stop to begin")

    systemctl("stop", "--no-block", UNIT)
    state = ("show", "-p", "ActiveState", "--value", UNIT)
    wait_for(lambda: systemctl(*state) == "deactivating", "the service to be told")
    go.touch()
    stopping.join()

    wait_for(lambda: systemctl(*state) == "inactive", "the service to leave")
    assert answers[0][0].startswith("stubborn: run ")
    assert systemctl("show", "-p", "Result", "--value", UNIT) == "success"


def test_it_ends_on_a_session_bus_that_is_frozen(keiji, task, wire, systemctl) -> None:
    wire.call("Ping")
    pid = int(systemctl("show", "-p", "MainPID", "--value", "dbus.service"))
    os.kill(pid, signal.SIGSTOP)
    try:
        systemctl("stop", UNIT)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert systemctl("show", "-p", "Result", "--value", UNIT) == "success"


# -- clients that do harm ----------------------------------------------------------------------


def test_nonsense_does_no_harm(keiji, task, wire) -> None:
    owner = wire.owner() or (wire.call("Ping"), wire.owner())[1]
    nonsense = [
        ("Stop", GLib.Variant("(ss)", ("a", "b"))),
        ("Stop", GLib.Variant("(i)", (7,))),
        ("Stop", None),
        ("Stop", GLib.Variant("(s)", ("x" * 2**20,))),
        ("Stop", GLib.Variant("(s)", ("",))),
        ("Stop", GLib.Variant("(s)", ("\x01\n\x7f",))),
        ("Delete", GLib.Variant("(s)", ("../../etc",))),
        ("NoSuchMethod", None),
        ("_subscribe", None),
    ]

    for method, arguments in nonsense:
        with pytest.raises(WireError) as refused:
            wire.raw(method, arguments)
        assert len(refused.value.message) < 300

    assert wire.call("Ping")[0] == package.__version__
    assert wire.owner() == owner
    assert wire.get("Tasks") == [task]


def test_what_was_said_in_calls_is_not_kept(task, wire, systemctl) -> None:
    def held() -> int:
        pid = systemctl("show", "-p", "MainPID", "--value", UNIT)
        (line,) = [row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in row]
        return int(line.split()[1])  # KiB

    def speak(megabytes: int) -> None:
        for _ in range(megabytes):
            with pytest.raises(WireError):
                wire.call("Stop", "x" * 2**20)

    speak(10)
    before = held()
    speak(50)

    assert held() - before < 25 * 1024


def test_a_client_that_goes_away_does_no_harm(keiji, task, wire, wait_for) -> None:
    keiji.write_task("long", LONG, YEARLY)
    keiji("task", "build", "long")
    wire.call("Run", "long")

    call = [sys.executable, "-c", "from wire import Wire; Wire().call('Stop', 'long')"]
    client = subprocess.Popen(call, cwd=Path(__file__).parent)
    wait_for(
        lambda: (keiji.home / "run" / "stopping" / "long").exists() or client.poll() is not None, "a stop"
    )
    client.kill()
    client.wait()

    wait_for(lambda: "stopped" in keiji("task", "history", "long").stdout, "the run to be stopped")
    assert wire.call("Ping")[0] == package.__version__


# -- when the bus can't be had -----------------------------------------------------------------

BY_HAND = "without it, `systemctl --user stop keiji-ping.timer keiji-ping.service` stops the task"


def test_without_a_session_bus_the_error_says_how_to_stop_the_task(keiji, task) -> None:
    keiji.environment["DBUS_SESSION_BUS_ADDRESS"] = "unix:path=/nowhere"

    printed = keiji("task", "stop", task, status=1).stderr

    assert printed.startswith("keiji: no session bus answers at unix:path=/nowhere")
    assert printed.endswith(f"{BY_HAND}\n")


@on_both
def test_a_service_that_cannot_start_is_told_with_its_last_lines(keiji, task, served_by) -> None:
    served_by("-c", "import sys; sys.exit('the reason why')")

    printed = keiji("task", "stop", task, status=1).stderr

    assert "the reason why" in printed
    assert "keiji system logs --bus" in printed
    assert BY_HAND in printed


def test_a_service_that_hangs_is_given_up_after_a_while(keiji, task, wire, systemctl) -> None:
    wire.call("Ping")
    pid = int(systemctl("show", "-p", "MainPID", "--value", UNIT))
    os.kill(pid, signal.SIGSTOP)
    try:
        printed = keiji("task", "stop", task, status=1).stderr
        status = keiji("system", "status", "--bus").stdout
    finally:
        os.kill(pid, signal.SIGCONT)

    assert printed.startswith("keiji: the bus did not answer within 5 s")
    assert BY_HAND in printed
    assert "OFFLINE" in status


@on_both
def test_a_service_that_dies_in_the_middle_is_told(keiji, go, systemctl, wait_for) -> None:
    printed = []
    client = threading.Thread(
        target=lambda: printed.append(keiji("task", "stop", "stubborn", status=1).stderr)
    )
    client.start()
    wait_for(lambda: (keiji.home / "run" / "stopping" / "stubborn").exists(), "the stop to begin")

    systemctl("kill", "--signal=KILL", UNIT)
    client.join()

    assert printed[0].startswith("keiji: the bus ended before it answered")


OLD = (
    "import sys, keiji; keiji.__version__ = '0.0.1'; from keiji.bus import {0}; sys.argv = ['x']; {0}.main()"
)


@on_both
def test_an_old_service_is_restarted_once_and_the_directive_goes_on(
    keiji, task, wire, served_by, systemctl, transport
) -> None:
    drop_in = served_by("-c", OLD.format(transport))
    assert wire.call("Ping")[0] == "0.0.1"
    drop_in.unlink()
    systemctl("daemon-reload")

    keiji("task", "disable", task)

    assert wire.call("Ping")[0] == package.__version__
    assert systemctl("is-enabled", "keiji-ping.timer") == "disabled"


@on_both
def test_an_old_service_that_comes_back_is_refused_with_the_file_in_the_way(
    keiji, task, wire, served_by, systemctl, transport
) -> None:
    drop_in = served_by("-c", OLD.format(transport))

    printed = keiji("task", "disable", task, status=1).stderr

    assert printed.startswith("keiji: the bus is keiji 0.0.1 and this is")
    assert str(drop_in) in printed
    assert systemctl("is-enabled", "keiji-ping.timer") == "enabled"


def test_the_service_of_another_home_is_refused(keiji, task, wire, served_by, systemctl) -> None:
    other = keiji.home.parent / "other"
    served_by(
        "-c",
        f"import os, sys; os.environ['KEIJI_HOME'] = '{other}'; from keiji.bus import dbus; "
        "sys.argv = ['x']; dbus.main()",
    )

    printed = keiji("task", "disable", task, status=2).stderr

    assert printed == (
        f"keiji: the bus that runs here serves the keiji in {other}: use that one (KEIJI_HOME={other})\n"
    )
    assert systemctl("is-enabled", "keiji-ping.timer") == "enabled"
    assert wire.owner()


# -- from inside a run -------------------------------------------------------------------------


@on_both
def test_a_task_may_disable_itself_and_goes_on_to_its_end(keiji, task, systemctl) -> None:
    folders = {name: value for name, value in keiji.environment.items() if name.startswith("KEIJI_")}
    keiji.write_task(
        "self",
        "import os, subprocess\n\n\ndef function():\n"
        f"    subprocess.run([{sys.executable!r}, '-m', 'keiji', 'task', 'disable', 'self'], check=True,\n"
        f"                   env={{**os.environ, **{folders!r}}})\n"
        "    print('went on')\n",
        YEARLY,
    )
    keiji("task", "build", "self")

    printed = keiji("task", "run", "self").stdout

    assert "went on" in printed
    assert systemctl("is-enabled", "keiji-self.timer") == "disabled"
    assert "succeeded" in keiji("task", "history", "self").stdout
