"""The verbs of the stand-in for `launchctl`: their grammar, answers and exit codes."""

from __future__ import annotations

import os
import plistlib
import signal
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launchd_jobs import GRACE, THROTTLE, Job

KEYS = {
    *("Label", "ProgramArguments", "WorkingDirectory", "EnvironmentVariables", "StandardOutPath"),
    *("StandardErrorPath", "ExitTimeOut", "LimitLoadToSessionType", "Umask", "StartCalendarInterval"),
    *("RunAtLoad", "KeepAlive", "ThrottleInterval", "Sockets"),
}
LEGACY = ("load", "unload", "start", "stop", "remove", "submit", "bsexec", "asuser")
ERRORS = {
    3: "No such process",
    5: "Input/output error",
    36: "Operation now in progress",
    37: "Operation already in progress",
    112: "Could not find specified domain",
    113: "Could not find specified service",
    119: "Service is disabled",
    122: "Path had bad ownership/permissions",
    125: "Domain does not support specified action",
    134: "Service cannot load in requested session",
}
REFUSED = "Bootstrap failed: 5: Input/output error\nTry re-running the command as root for richer errors."
Answer = str | tuple[int, str]


@dataclass
class Machine:
    """What launchd knows. `throttle` and `patience`: what its ten seconds from start to start, and those
    from SIGTERM to SIGKILL, are multiplied by. `added`: label → words that a job gets beyond its own.
    `loaded_says`: what a second bootstrap is answered. `is_frank`: it says why it refuses, as to root.
    `others`: keys that a plist may have though keiji writes none of them.
    """

    domains: list[str] = field(default_factory=lambda: ["gui", "user"])
    macos: int = 15
    throttle: float = 0.0
    patience: float = 1.0
    loaded_says: int = 5
    is_frank: bool = False
    allowed: bool = True  # in Login Items, of which launchctl says nothing
    others: set[str] = field(default_factory=set)
    added: dict[str, list[str]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    disabled: dict[str, bool] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)


def perform(machine: Machine, words: list[str]) -> Answer:
    verb, rest = (words[0], words[1:]) if words else ("", [])
    if verb in LEGACY:
        return breach(machine, f"the legacy verb {verb}")
    if verb not in VERBS:
        return breach(machine, f"the unknown verb {verb!r}", 1)
    try:
        return VERBS[verb](machine, rest)
    except Exception as problem:  # in one line, for keiji shows no more
        return breach(machine, f"{words}: the stand-in itself fails: {problem!r}", 70)


def breach(machine: Machine, what: str, status: int = 64) -> tuple[int, str]:
    """What keiji must never do: it is remembered, whatever keiji makes of the refusal."""
    machine.breaches.append(what)
    return status, f"BREACH: {what}"


def parted(target: str) -> tuple[str, str] | None:
    """Domain and label of a target that can be meant."""
    words = target.split("/", 2)
    if len(words) < 2 or words[0] not in ("gui", "user") or words[1] != str(os.getuid()):
        return None
    return "/".join(words[:2]), words[2] if len(words) > 2 else ""


def whole(rest: list[str]) -> tuple[str, str]:
    """Domain and label of the one target that is said; `ValueError` where a label is missing."""
    parts = parted(rest[0]) if len(rest) == 1 else None
    if not parts or not parts[1]:
        raise ValueError(" ".join(rest))
    return parts


def has_domain(machine: Machine, domain: str) -> bool:
    return domain.split("/")[0] in machine.domains


def no_domain(domain: str) -> tuple[int, str]:
    kind, _, number = domain.partition("/")
    return 112, f"Could not find domain for user {kind}: {number}"


def no_service(domain: str, label: str) -> tuple[int, str]:
    kind, _, number = domain.partition("/")
    return 113, f'Bad request.\nCould not find service "{label}" in domain for user {kind}: {number}'


def bootstrap(machine: Machine, rest: list[str]) -> Answer:
    parts = parted(rest[0]) if len(rest) == 2 else None
    if not parts or parts[1]:
        return breach(machine, f"bootstrap {' '.join(rest)}")
    domain, path = rest
    if not has_domain(machine, domain):
        return 125, "Bootstrap failed: 125: Domain does not support specified action"
    with machine.lock:
        try:
            plist = plistlib.loads(Path(path).read_bytes())
            label = plist["Label"]
        except Exception:
            return 5, REFUSED
        if wrong := faulty(plist, path, KEYS | machine.others):
            return breach(machine, wrong)
        if refusal := refused(machine, domain, path, plist):
            return refusal
        if not machine.allowed:
            return ""
        job = machine.jobs[f"{domain}/{label}"] = Job(machine, domain, path)
        if plist.get("RunAtLoad") or "KeepAlive" in plist:
            job.start()
    return ""


def refused(machine: Machine, domain: str, path: str, plist: dict[str, Any]) -> Answer:
    """Why it can't be loaded, which nobody but root is told; nothing where it can."""
    status = os.stat(path)
    loaded = next((job for job in machine.jobs.values() if job.label == plist["Label"]), None)
    if loaded and not loaded.is_leaving and machine.loaded_says != 5:
        return machine.loaded_says, f"Bootstrap failed: {machine.loaded_says}: service already bootstrapped"
    kind = "Aqua" if domain.startswith("gui") else "Background"
    reasons = {
        5: loaded is not None,
        119: machine.disabled.get(plist["Label"], False),
        122: bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)) or status.st_uid != os.getuid(),
        134: kind not in plist.get("LimitLoadToSessionType", ["Aqua"]),
    }
    number = next((number for number, applies in reasons.items() if applies), 0)
    if machine.is_frank and number:
        return number, f"Bootstrap failed: {number}: {ERRORS[number]}"
    return (5, REFUSED) if number else ""


def faulty(plist: dict[str, Any], path: str, known: set[str]) -> str:
    """What launchd would pass over in silence."""
    unknown = set(plist) - known
    if unknown:
        return f"{path} has the keys {unknown}"
    if plist["Label"] != Path(path).stem:
        return f"{path} is of {plist['Label']}"
    if not all(isinstance(word, str) for word in plist["ProgramArguments"]):
        return f"{path} has arguments that are no strings"
    if any("Minute" not in entry for entry in plist.get("StartCalendarInterval", [])):
        return f"{path} fires every minute"
    return ""


def bootout(machine: Machine, rest: list[str]) -> Answer:
    waits = rest[:1] == ["--wait"]
    if waits and machine.macos < 26:
        return breach(machine, "bootout --wait before macOS 26")
    domain, _ = whole(rest[waits:])
    if not has_domain(machine, domain):
        return 125, "Boot-out failed: 125: Domain does not support specified action"
    with machine.lock:
        job = machine.jobs.get(rest[-1])
        if not job:
            return 3, "Boot-out failed: 3: No such process"
        if job.is_leaving:
            return 36, "Boot-out failed: 36: Operation now in progress"
        job.leave(signal.SIGTERM, job.plist.get("ExitTimeOut", GRACE) * machine.patience)
    if waits:
        job.gone.wait()
    return ""  # though it may be there still


def override(machine: Machine, rest: list[str], off: bool) -> Answer:
    domain, label = whole(rest)
    if not has_domain(machine, domain):
        return no_domain(domain)
    with machine.lock:
        machine.disabled[label] = off  # of the person, whichever domain; survives the plist
    return ""


def kickstart(machine: Machine, rest: list[str]) -> Answer:
    flags = [word for word in rest if word.startswith("-")]
    domain, label = whole([word for word in rest if not word.startswith("-")])
    if not set(flags) <= {"-k", "-p"}:
        return breach(machine, f"kickstart {' '.join(rest)}")
    with machine.lock:
        job = machine.jobs.get(f"{domain}/{label}")
        if not job:
            return no_service(domain, label)
        if "-k" in flags and job.process:
            job.again = True
            job.send(signal.SIGKILL)
        job.start()
        return f"service spawned with pid: {job.pid or 0}\n" if "-p" in flags else ""


def send(machine: Machine, rest: list[str]) -> Answer:
    domain, label = whole(rest[1:])
    if not hasattr(signal, rest[0]):
        return breach(machine, f"kill {' '.join(rest)}")
    with machine.lock:
        job = machine.jobs.get(rest[1])
        if not job:
            return no_service(domain, label)
        if job.pid is None:
            return 3, "No process to signal."
        job.send(getattr(signal, rest[0]))
    return ""


def show(machine: Machine, rest: list[str]) -> Answer:
    parts = parted(rest[0]) if len(rest) == 1 else None
    if not parts:
        return breach(machine, f"print {' '.join(rest)}")
    domain, label = parts
    if not has_domain(machine, domain):
        return no_domain(domain)
    with machine.lock:
        if label:
            job = machine.jobs.get(rest[0])
            return shown(domain, job) if job else no_service(domain, label)
        jobs = [job for job in machine.jobs.values() if job.domain == domain]
        rows = "".join(f"\t\t{job.pid or 0:>8}      - \t{job.label}\n" for job in jobs)
    others = "\t\t       0      - \tcom.apple.x\n"
    return f"{domain} = {{\n\ttype = user\n\tservices = {{\n{others}{rows}\t}}\n}}\n"


def shown(domain: str, job: Job) -> str:
    """As in captures: what is the job's own stands behind one tab, blocks repeat its keys behind two."""
    plist = job.plist
    arguments = "".join(f"\t\t{word}\n" for word in plist["ProgramArguments"])
    own = {
        "working directory": plist.get("WorkingDirectory"),
        "stdout path": plist.get("StandardOutPath"),
        "stderr path": plist.get("StandardErrorPath"),
    }
    rows = "".join(f"\t{key} = {value}\n" for key, value in own.items() if value)
    ended = f"\tlast exit code = {job.last}\n"
    if job.signal:
        ended = f"\tlast terminating signal = {signal.strsignal(job.signal)}: {job.signal}\n"
    flags = [word for word, key in (("keepalive", "KeepAlive"), ("runatload", "RunAtLoad")) if key in plist]
    return (
        f"{domain}/{job.label} = {{\n\tactive count = {int(bool(job.pid))}\n\tpath = {job.path}\n"
        f"\ttype = LaunchAgent\n\tstate = {job.state}\n\n\tprogram = {plist['ProgramArguments'][0]}\n"
        f"\targuments = {{\n{arguments}\t}}\n\n{rows}"
        "\tdefault environment = {\n\t\tPATH => /usr/bin:/bin:/usr/sbin:/sbin\n\t\tstate = confusing\n"
        "\t\tpid = 1\n\t}\n\n"
        f"\tdomain = {domain} [100005]\n\tminimum runtime = {plist.get('ThrottleInterval', int(THROTTLE))}\n"
        f"\texit timeout = {plist.get('ExitTimeOut', GRACE)}\n\truns = {job.runs}\n"
        + (f"\tpid = {job.pid}\n" if job.pid else "")
        + f"{ended}\n\tspawn type = daemon (3)\n"
        + f"\tproperties = {' | '.join([*flags, 'inferred program'])}\n}}\n"
    )


def show_disabled(machine: Machine, rest: list[str]) -> Answer:
    parts = parted(rest[0]) if len(rest) == 1 else None
    if not parts or parts[1]:
        return breach(machine, f"print-disabled {' '.join(rest)}")
    words = ("disabled", "enabled") if machine.macos >= 13 else ("true", "false")
    with machine.lock:
        rows = "".join(f'\t\t"{label}" => {words[not off]}\n' for label, off in machine.disabled.items())
    return f"\tdisabled services = {{\n{rows}\t}}\n"


def listing(machine: Machine, rest: list[str]) -> Answer:
    own = "gui/" if "gui" in machine.domains else "user/"  # the caller's; user/ jobs are not seen from gui/
    with machine.lock:
        jobs = [job for job in machine.jobs.values() if job.domain.startswith(own)]
        if not rest:
            rows = "".join(f"{job.pid or '-'}\t{_decoded(job)}\t{job.label}\n" for job in jobs)
            return f"PID\tStatus\tLabel\n-\t0\tcom.apple.x\n{rows}"
        found = next((job for job in jobs if job.label == rest[0]), None)
        if not found:
            return 113, f'Could not find service "{rest[0]}" in domain for port'
        words = "".join(f'\t\t"{word}";\n' for word in found.plist["ProgramArguments"])
        return (
            f'{{\n\t"LimitLoadToSessionType" = "Aqua";\n\t"Label" = "{rest[0]}";\n\t"OnDemand" = true;\n'
            f'\t"LastExitStatus" = {found.waited};\n'
            + (f'\t"PID" = {found.pid};\n' if found.pid else "")
            + f'\t"Program" = "{found.plist["ProgramArguments"][0]}";\n'
            f'\t"ProgramArguments" = (\n{words}\t);\n}};\n'
        )


def explain(machine: Machine, rest: list[str]) -> Answer:
    number = rest[-1] if rest else ""
    if not number.isdigit():
        return breach(machine, f"error {' '.join(rest)}")
    return f"{number}: {ERRORS.get(int(number), 'unknown error')}\n"


def _decoded(job: Job) -> int:
    return -job.signal if job.signal else job.waited >> 8


VERBS: dict[str, Callable[[Machine, list[str]], Answer]] = {
    "bootstrap": bootstrap,
    "bootout": bootout,
    "enable": lambda machine, rest: override(machine, rest, False),
    "disable": lambda machine, rest: override(machine, rest, True),
    "kickstart": kickstart,
    "kill": send,
    "print": show,
    "print-disabled": show_disabled,
    "list": listing,
    "error": explain,
    "managername": lambda machine, rest: "Aqua\n" if "gui" in machine.domains else "Background\n",
}
