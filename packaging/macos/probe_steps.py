"""The steps of the probe: each asks what nobody has written down, or what only one report says."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from probe_record import Recorder

SLEEPS = "exec sleep 600"
MARKS = 'date +%s >> "$0"'
STUBBORN = f'trap "" TERM; {MARKS}; while :; do sleep 1; done'
# What it is answered and whether a second call is refused, told to whoever connects.
ANSWERS = """\
import ctypes, json, socket
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
lib = ctypes.CDLL("/usr/lib/libSystem.B.dylib")
lib.launch_activate_socket.argtypes = [c_char_p, POINTER(POINTER(c_int)), POINTER(c_size_t)]
lib.launch_activate_socket.restype = c_int
lib.free.argtypes, lib.free.restype = [c_void_p], None
def activate(name):
    numbers, count = POINTER(c_int)(), c_size_t()
    failure = lib.launch_activate_socket(name, byref(numbers), byref(count))
    found = [] if failure else [socket.socket(fileno=numbers[n]) for n in range(count.value)]
    if not failure:
        lib.free(numbers)
    return failure, found
unknown, _ = activate(b"Other")
failure, found = activate(b"Bus")
again, _ = activate(b"Bus")
names = [each.getsockname() for each in found]
found[0].setblocking(True)
caller, _ = found[0].accept()
said = {"failure": failure, "unknown": unknown, "again": again, "names": names}
caller.sendall(json.dumps(said).encode())
caller.close()
"""


def life_cycle(probe: Recorder) -> None:
    with probe.agent(SLEEPS) as agent:
        agent.bootstrap()
        agent.call("print")
        probe.call("list", agent.label)
        probe.call("list")
        agent.call("kickstart")
        first = agent.shows("pid = ")
        agent.call("kickstart")
        agent.call("kickstart", "-k")
        agent.shows(rf"pid = (?!{_pid(first.out)}$)")
        probe.call("list", agent.label)
        agent.call("kill", "SIGTERM")
        agent.shows("state = not running")
        agent.call("kill", "SIGTERM")
        agent.call("disable")
        probe.call("print-disabled", agent.domain)
        agent.call("enable")
        probe.call("print-disabled", agent.domain)
        agent.call("bootout")
        agent.is_gone()
        for verb in ("bootout", "print", "kickstart"):
            agent.call(verb)
        agent.call("kill", "SIGTERM")
        probe.call("list", agent.label)


def stubborn(probe: Recorder) -> None:
    """Loaded again right after it was told to go, which it ignores."""
    with probe.agent(STUBBORN, RunAtLoad=True, ExitTimeOut=5) as agent:
        agent.bootstrap()
        probe.wait(agent.times, 5)
        agent.call("bootout")
        agent.bootstrap()
        agent.call("bootout")
        agent.call("print")
        probe.until(lambda answer: answer.status == 0, "bootstrap", agent.domain, str(agent.path))


def twice(probe: Recorder) -> None:
    with probe.agent(SLEEPS) as agent:
        agent.bootstrap()
        agent.bootstrap()


def disabled(probe: Recorder) -> None:
    with probe.agent(SLEEPS) as agent:
        agent.call("disable")
        agent.bootstrap()
        agent.call("print")
        agent.call("enable")
        agent.bootstrap()


def mode(probe: Recorder) -> None:
    """Others may write its plist."""
    with probe.agent(SLEEPS, mode=0o664) as agent:
        agent.bootstrap()
        agent.path.chmod(0o644)
        agent.bootstrap()


def user_domain(probe: Recorder) -> None:
    probe.call("managername")
    with probe.agent(SLEEPS, domain=probe.user) as agent:
        agent.bootstrap()
        agent.call("print")
        probe.call("list", agent.label)
        agent.call("kickstart")
        agent.shows("pid = ")
        probe.call("print", f"{probe.gui}/{agent.label}")
    with probe.agent(SLEEPS, domain=probe.user, LimitLoadToSessionType=["Aqua"]) as agent:
        agent.bootstrap()
    with probe.agent(SLEEPS, LimitLoadToSessionType=["Background"]) as agent:
        agent.bootstrap()


def ends(probe: Recorder) -> None:
    """How `print` and `list` tell of a status and of a signal."""
    for script, pattern in (("exit 1", "last exit code = 1"), ("kill -TERM $$", "last .*(15|143)")):
        with probe.agent(script) as agent:
            agent.bootstrap()
            agent.call("kickstart")
            agent.shows(pattern)
            probe.call("list", agent.label)
            probe.call("list")


def missing_program(probe: Recorder) -> None:
    with probe.agent(["/nonexistent/keiji-probe"]) as agent:
        agent.bootstrap()
        agent.call("kickstart")
        agent.shows("last exit code = 78")
        probe.call("list", agent.label)


def interval(probe: Recorder) -> None:
    """How often three seconds are, with and without leave to start that often."""
    with (
        probe.agent(MARKS, StartInterval=3) as plain,
        probe.agent(MARKS, StartInterval=3, ThrottleInterval=1) as free,
    ):
        both = {"plain": plain, "with ThrottleInterval 1": free}
        for name, agent in both.items():
            agent.bootstrap()
            probe.note(f"{name}: loaded at", time.time())
        probe.wait(lambda: False, 25)
        for name, agent in both.items():
            probe.note(f"{name}: starts at", agent.times())
            agent.call("print")


def calendar(probe: Recorder) -> None:
    due = datetime.now().replace(second=0, microsecond=0) + timedelta(minutes=2)
    with probe.agent(MARKS, StartCalendarInterval=[_entry(due)]) as agent:
        agent.bootstrap()
        probe.wait(agent.times, 180)
        probe.note("due and starts at", [due.timestamp(), *agent.times()])
        agent.call("print")


def sockets(probe: Recorder) -> None:
    """Twice, for the second connection finds that the first process has left."""
    script = probe.folder / "answers.py"
    script.write_text(ANSWERS)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    names = ("SockNodeName", "SockServiceName", "SockFamily", "SockType")
    wanted = dict(zip(names, ("127.0.0.1", str(port), "IPv4", "stream"), strict=True))
    with probe.agent([sys.executable, str(script)], Sockets={"Bus": wanted}, ThrottleInterval=1) as agent:
        agent.bootstrap()
        for name in ("first", "second"):
            began = time.monotonic()
            probe.note(name, _told(port))
            probe.note(f"{name}: seconds", round(time.monotonic() - began, 3))
            agent.shows("state = not running")


def zone(probe: Recorder) -> None:
    """The machine moves while two agents are loaded: does that of the old clock fire, or that of the new?"""
    before = _system("-gettimezone").partition(":")[2].strip()
    if not before:
        raise OSError("systemsetup does not say the machine's zone")
    after = "Asia/Tokyo" if before != "Asia/Tokyo" else "America/New_York"
    due = datetime.now(timezone.utc).replace(second=0, microsecond=0) + timedelta(minutes=3)
    with (
        probe.agent(MARKS, StartCalendarInterval=[_entry(due.astimezone(ZoneInfo(before)))]) as old,
        probe.agent(MARKS, StartCalendarInterval=[_entry(due.astimezone(ZoneInfo(after)))]) as new,
    ):
        old.bootstrap()
        new.bootstrap()
        try:
            _system("-settimezone", after)
            probe.note("zones", [before, after, _system("-gettimezone")])
            probe.wait(lambda: time.time() > due.timestamp() + 60, 300)
        finally:
            _system("-settimezone", before)
        probe.note("due at", due.timestamp())
        probe.note("by the old clock", old.times())
        probe.note("by the new clock", new.times())


STEPS: dict[str, Callable[[Recorder], None]] = {
    "life-cycle": life_cycle,
    "stubborn": stubborn,
    "twice": twice,
    "disabled": disabled,
    "mode": mode,
    "user-domain": user_domain,
    "ends": ends,
    "missing-program": missing_program,
    "sockets": sockets,
    "interval": interval,
    "calendar": calendar,
    "zone": zone,
}


def _entry(moment: datetime) -> dict[str, int]:
    return {"Hour": moment.hour, "Minute": moment.minute}


def _pid(text: str) -> str:
    found = re.search(r"^\tpid = (\d+)", text, re.MULTILINE)
    return found[1] if found else "0"


def _told(port: int) -> object:
    """What the agent's process tells who connects; the reason where nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as caller:
            said = b""
            while more := caller.recv(65536):
                said += more
        return json.loads(said)
    except (OSError, ValueError) as problem:
        return f"{type(problem).__name__}: {problem}"


def _system(*words: str) -> str:
    """systemsetup's words; its status says little, so they are asked for again after a change."""
    words = ("sudo", "-n", "systemsetup", *words)
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stdout.strip()
