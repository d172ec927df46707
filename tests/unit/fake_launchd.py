"""A strict `launchctl` and as much of launchd behind it as keiji may rely on.

It knows the grammar, exit codes and races that are written down for macOS 13 to 26, really runs jobs with
launchd's poor environment, and notes as a breach whatever keiji must never do. No timer of it fires: a test
says when. That launchd itself does the same has never been tried.
"""

from __future__ import annotations

import fcntl
import json
import os
import plistlib
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEYS = {
    *("Label", "ProgramArguments", "WorkingDirectory", "EnvironmentVariables", "StandardOutPath"),
    *("StandardErrorPath", "ExitTimeOut", "LimitLoadToSessionType", "Umask", "StartCalendarInterval"),
    *("RunAtLoad", "KeepAlive", "ThrottleInterval", "Sockets"),
}
LEGACY = ("load", "unload", "start", "stop", "remove", "submit", "bsexec", "asuser")
START = {"domains": ["gui", "user"], "macos": 15, "throttle": 0.0, "loaded_says": 5, "jobs": {}}
START |= {"disabled": {}, "faults": [], "calls": [], "breaches": []}
SHIM = """\
#!{python} -IS
import sys
sys.path.insert(0, {here!r})
import fake_launchd
fake_launchd.main({folder!r})
"""
TRY_ROOT = "Try re-running the command as root for richer errors."
_PAUSE = 0.01
PYTHON = sys.executable


class FakeLaunchd:
    """Put `bin` on PATH. `faults`: see `fault`; what was called and breached is kept until the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        script = self.bin / "launchctl"
        here = str(Path(__file__).parent)
        script.write_text(SHIM.format(python=PYTHON, here=here, folder=str(folder)))
        script.chmod(0o755)
        (folder / "state").write_text(json.dumps(START))

    @property
    def state(self) -> dict[str, Any]:
        with changing(self.folder) as state:
            return state

    def set(self, **values: Any) -> None:
        with changing(self.folder) as state:
            state.update(values)

    def fault(self, verb: str, status: int, said: str = "", times: int = 1, late: float = 0.0) -> None:
        """The next calls of `verb` fail like this, doing nothing; or are only `late`, for status 0."""
        with changing(self.folder) as state:
            state["faults"] += [{"verb": verb, "status": status, "said": said, "late": late}] * times

    def calls(self, verb: str = "") -> list[str]:
        return [call for call in self.state["calls"] if call.startswith(verb)]

    def job(self, label: str) -> dict[str, Any] | None:
        found = [job for target, job in self.state["jobs"].items() if target.endswith(f"/{label}")]
        return found[0] if found else None

    def fire(self, label: str) -> None:
        """What a timer of launchd's does: nothing where the job runs."""
        with changing(self.folder) as state:
            target = next(target for target in state["jobs"] if target.endswith(f"/{label}"))
            start(self.folder, state, target)

    def end(self) -> None:
        """End every process of every job, as the machine does when it goes down."""
        with changing(self.folder) as state:
            for job in state["jobs"].values():
                job["keep"] = False
                for number in (job["pid"], job["minder"]):
                    kill(number, signal.SIGKILL)
            state["jobs"] = {}


@contextmanager
def changing(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The state, which nobody else changes meanwhile."""
    with open(f"{folder}/lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = json.loads(Path(folder, "state").read_text())
        try:
            yield state
        finally:
            spare = Path(folder, "state.new")
            spare.write_text(json.dumps(state))
            spare.replace(Path(folder, "state"))


def main(folder: str) -> None:
    words = sys.argv[1:]
    with changing(folder) as state:
        state["calls"].append(" ".join(words))
        fault = next((each for each in state["faults"] if each["verb"] == words[0]), {"status": 0, "late": 0})
        if "verb" in fault:
            state["faults"].remove(fault)
        failed = (fault["status"], fault["said"]) if fault["status"] else None
        try:
            answer = failed or perform(folder, state, words)
        except Exception as problem:  # in one line, for keiji shows no more
            answer = breach(state, f"{words}: the stand-in itself fails: {problem!r}", 70)
    time.sleep(fault["late"])
    if isinstance(answer, str):
        sys.stdout.write(answer)
        return
    sys.stderr.write(f"{answer[1]}\n")
    sys.exit(answer[0])


def breach(state: dict[str, Any], what: str, status: int = 64) -> tuple[int, str]:
    """What keiji must never do: it is remembered, whatever keiji makes of the refusal."""
    state["breaches"].append(what)
    return status, f"BREACH: {what}"


Answer = str | tuple[int, str]


def perform(folder: str, state: dict[str, Any], words: list[str]) -> Answer:
    verb, rest = (words[0], words[1:]) if words else ("", [])
    if verb in LEGACY:
        return breach(state, f"the legacy verb {verb}")
    verbs: dict[str, Callable[[str, dict[str, Any], list[str]], Answer]] = {
        "bootstrap": bootstrap,
        "bootout": bootout,
        "enable": lambda folder, state, rest: override(state, rest, False),
        "disable": lambda folder, state, rest: override(state, rest, True),
        "kickstart": kickstart,
        "kill": send,
        "print": lambda folder, state, rest: show(state, rest),
        "print-disabled": lambda folder, state, rest: show_disabled(state, rest),
        "list": lambda folder, state, rest: listing(state, rest),
        "managername": lambda folder, state, rest: "Aqua\n" if "gui" in state["domains"] else "Background\n",
    }
    if verb not in verbs:
        return breach(state, f"the unknown verb {verb!r}", 1)
    return verbs[verb](folder, state, rest)


def parted(state: dict[str, Any], target: str) -> tuple[str, str] | None:
    """Domain and label of a target that can be meant, else a breach."""
    words = target.split("/", 2)
    if len(words) < 2 or words[0] not in ("gui", "user") or words[1] != str(os.getuid()):
        return None
    return "/".join(words[:2]), words[2] if len(words) > 2 else ""


def has_domain(state: dict[str, Any], domain: str) -> bool:
    return domain.split("/")[0] in state["domains"]


def no_domain(domain: str) -> tuple[int, str]:
    kind, _, number = domain.partition("/")
    return 112, f"Could not find domain for user {kind}: {number}"


def no_service(domain: str, label: str) -> tuple[int, str]:
    kind, _, number = domain.partition("/")
    return 113, f'Bad request.\nCould not find service "{label}" in domain for user {kind}: {number}'


def bootstrap(folder: str, state: dict[str, Any], rest: list[str]) -> Answer:
    if len(rest) != 2 or not parted(state, rest[0]) or parted(state, rest[0])[1]:  # type: ignore[index]
        return breach(state, f"bootstrap {' '.join(rest)}")
    domain, path = rest
    if not has_domain(state, domain):
        return 125, "Bootstrap failed: 125: Domain does not support specified action"
    refused = (5, f"Bootstrap failed: 5: Input/output error\n{TRY_ROOT}")
    try:
        plist = plistlib.loads(Path(path).read_bytes())
        label = plist["Label"]
    except Exception:
        return refused
    wrong = faulty(plist, path)
    if wrong:
        return breach(state, wrong)
    status = os.stat(path)
    loaded = [job for target, job in state["jobs"].items() if target.endswith(f"/{label}")]
    if loaded and not loaded[0]["leaving"] and state["loaded_says"] == 37:
        return 37, "Bootstrap failed: 37: Operation already in progress"
    kind = "Aqua" if domain.startswith("gui") else "Background"
    if (
        loaded
        or state["disabled"].get(label)
        or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        or status.st_uid != os.getuid()
        or kind not in plist.get("LimitLoadToSessionType", ["Aqua"])
    ):
        return refused
    target = f"{domain}/{label}"
    job = {"label": label, "path": path, "plist": plist, "pid": None, "minder": None, "runs": 0}
    job |= {
        "last": "(never exited)",
        "signal": None,
        "leaving": 0,
        "begun": 0.0,
        "keep": "KeepAlive" in plist,
    }
    state["jobs"][target] = job
    if plist.get("RunAtLoad") or "KeepAlive" in plist:
        start(folder, state, target)
    return ""


def faulty(plist: dict[str, Any], path: str) -> str:
    """What launchd would pass over in silence."""
    unknown = set(plist) - KEYS
    if unknown:
        return f"{path} has the keys {unknown}"
    if plist["Label"] != Path(path).stem:
        return f"{path} is of {plist['Label']}"
    if not all(isinstance(word, str) for word in plist["ProgramArguments"]):
        return f"{path} has arguments that are no strings"
    if any("Minute" not in entry for entry in plist.get("StartCalendarInterval", [])):
        return f"{path} fires every minute"
    return ""


def bootout(folder: str, state: dict[str, Any], rest: list[str]) -> Answer:
    if rest[:1] == ["--wait"] and state["macos"] < 26:
        return breach(state, "bootout --wait before macOS 26")
    parts = parted(state, rest[-1]) if rest else None
    if not parts or not parts[1]:
        return breach(state, f"bootout of a whole domain: {' '.join(rest)}")
    if not has_domain(state, parts[0]):
        return 125, "Boot-out failed: 125: Domain does not support specified action"
    job = state["jobs"].get(rest[-1])
    if not job:
        return 3, "Boot-out failed: 3: No such process"
    if job["leaving"]:
        return 36, "Boot-out failed: 36: Operation now in progress"
    if job["minder"] is None:
        del state["jobs"][rest[-1]]
        return ""
    job["leaving"], job["keep"] = time.time() + job["plist"].get("ExitTimeOut", 5), False
    kill(job["pid"], signal.SIGTERM)
    return ""  # though it is there still


def override(state: dict[str, Any], rest: list[str], off: bool) -> Answer:
    parts = parted(state, rest[0]) if len(rest) == 1 else None
    if not parts or not parts[1]:
        return breach(state, f"enable or disable {' '.join(rest)}")
    if not has_domain(state, parts[0]):
        return no_domain(parts[0])
    state["disabled"][parts[1]] = off  # of the person, whichever domain; survives the plist
    return ""


def kickstart(folder: str, state: dict[str, Any], rest: list[str]) -> Answer:
    flags = [word for word in rest if word.startswith("-")]
    targets = [word for word in rest if not word.startswith("-")]
    parts = parted(state, targets[0]) if len(targets) == 1 and set(flags) <= {"-k", "-p"} else None
    if not parts or not parts[1]:
        return breach(state, f"kickstart {' '.join(rest)}")
    job = state["jobs"].get(targets[0])
    if not job:
        return no_service(*parts)
    if "-k" in flags:
        kill(job["pid"], signal.SIGKILL)
    start(folder, state, targets[0])
    return ""


def send(folder: str, state: dict[str, Any], rest: list[str]) -> Answer:
    parts = parted(state, rest[1]) if len(rest) == 2 else None
    if not parts or not parts[1] or not hasattr(signal, rest[0]):
        return breach(state, f"kill {' '.join(rest)}")
    job = state["jobs"].get(rest[1])
    if not job:
        return no_service(*parts)
    if job["pid"] is None:
        return 3, "No process to signal."
    kill(job["pid"], getattr(signal, rest[0]))
    return ""


def show(state: dict[str, Any], rest: list[str]) -> Answer:
    parts = parted(state, rest[0]) if len(rest) == 1 else None
    if not parts:
        return breach(state, f"print {' '.join(rest)}")
    domain, label = parts
    if not has_domain(state, domain):
        return no_domain(domain)
    if not label:
        jobs = [(target, job) for target, job in state["jobs"].items() if target.startswith(f"{domain}/")]
        rows = "".join(f"\t\t{job['pid'] or 0:>8}      - \t{job['label']}\n" for _, job in jobs)
        others = "\t\t       0      - \tcom.apple.x\n"
        return f"{domain} = {{\n\ttype = user\n\tservices = {{\n{others}{rows}\t}}\n}}\n"
    job = state["jobs"].get(rest[0])
    return shown(domain, job) if job else no_service(domain, label)


def shown(domain: str, job: dict[str, Any]) -> str:
    state = "running" if job["pid"] else "spawn scheduled" if job["minder"] else "not running"
    arguments = "".join(f"\t\t{word}\n" for word in job["plist"]["ProgramArguments"])
    ended = f"\tlast exit code = {job['last']}\n"
    if job["signal"]:
        ended = f"\tlast terminating signal = {signal.strsignal(job['signal'])}: {job['signal']}\n"
    return (
        f"{domain}/{job['label']} = {{\n\tactive count = {int(bool(job['pid']))}\n\tpath = {job['path']}\n"
        f"\ttype = LaunchAgent\n\tstate = {'SIGTERMed' if job['leaving'] else state}\n\n"
        f"\targuments = {{\n{arguments}\t}}\n\tdefault environment = {{\n\t\tstate = confusing\n"
        "\t\tpid = 1\n\t}\n"
        f"\tdomain = {domain} [100005]\n\truns = {job['runs']}\n"
        + (f"\tpid = {job['pid']}\n" if job["pid"] else "")
        + f"{ended}\tspawn type = daemon (3)\n}}\n"
    )


def show_disabled(state: dict[str, Any], rest: list[str]) -> Answer:
    parts = parted(state, rest[0]) if len(rest) == 1 else None
    if not parts or parts[1]:
        return breach(state, f"print-disabled {' '.join(rest)}")
    words = ("disabled", "enabled") if state["macos"] >= 13 else ("true", "false")
    rows = (f'\t\t"{label}" => {words[not off]}\n' for label, off in state["disabled"].items())
    return "\tdisabled services = {\n" + "".join(rows) + "\t}\n"


def listing(state: dict[str, Any], rest: list[str]) -> Answer:
    own = "gui/" if "gui" in state["domains"] else "user/"  # the caller's; user/ jobs are not seen from gui/
    jobs = [job for target, job in state["jobs"].items() if target.startswith(own)]
    if rest:
        found = [job for job in jobs if job["label"] == rest[0]]
        if not found:
            return 113, f'Could not find service "{rest[0]}" in domain for port'
        return f'{{\n\t"Label" = "{rest[0]}";\n\t"LastExitStatus" = 0;\n}};\n'
    rows = "".join(f"{job['pid'] or '-'}\t0\t{job['label']}\n" for job in jobs)
    return f"PID\tStatus\tLabel\n-\t0\tcom.apple.x\n{rows}"


# jobs


def kill(pid: int | None, number: int) -> None:
    try:
        if pid:
            os.kill(pid, number)
    except ProcessLookupError:
        pass


def start(folder: str | Path, state: dict[str, Any], target: str) -> None:
    """Have a process of its own start the job and wait for it; nothing where one does already."""
    job = state["jobs"][target]
    if job["minder"] is not None or job["leaving"]:
        return
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import fake_launchd as f; "
    code += f"f.mind({str(folder)!r}, {target!r})"
    null = subprocess.DEVNULL
    minder = subprocess.Popen(
        [PYTHON, "-IS", "-c", code], stdin=null, stdout=null, stderr=null, start_new_session=True
    )
    job["minder"] = minder.pid


def mind(folder: str, target: str) -> None:
    while True:
        with changing(folder) as state:
            job = state["jobs"][target]
            wait = job["begun"] + job["plist"].get("ThrottleInterval", state["throttle"]) - time.time()
            left = job["leaving"]
        if wait > 0 and not left:
            time.sleep(min(wait, 0.05))
            continue
        with changing(folder) as state:
            job = state["jobs"][target]
            process = None if job["leaving"] else spawned(job)
        status = waited(folder, target, process) if process else 78
        with changing(folder) as state:
            job = state["jobs"][target]
            job["pid"] = None
            job["last"] = "78: EX_CONFIG" if process is None else str(max(status, 0))
            job["signal"] = -status if status < 0 else None
            if job["leaving"]:
                del state["jobs"][target]
                return
            if not (job["keep"] and status):
                job["minder"] = None
                return


def spawned(job: dict[str, Any]) -> subprocess.Popen[bytes] | None:
    plist = job["plist"]
    environ = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "XPC_SERVICE_NAME": job["label"]}
    job["runs"] += 1
    job["begun"] = time.time()
    try:
        with open(plist["StandardOutPath"], "ab") as out, open(plist["StandardErrorPath"], "ab") as err:
            process = subprocess.Popen(
                plist["ProgramArguments"],
                cwd=plist["WorkingDirectory"],
                env={**environ, **plist["EnvironmentVariables"]},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                umask=plist.get("Umask", 0o022),
            )
    except OSError:
        return None
    job["pid"] = process.pid
    return process


def waited(folder: str, target: str, process: subprocess.Popen[bytes]) -> int:
    while process.poll() is None:
        with changing(folder) as state:
            left = state["jobs"][target]["leaving"]
        if left and time.time() > left:
            process.kill()
        time.sleep(_PAUSE)
    try:
        os.killpg(process.pid, signal.SIGKILL)  # AbandonProcessGroup is false
    except OSError:
        pass
    return process.returncode
