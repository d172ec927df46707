"""namespace_init.py UID CMD...: PID 1 of user-manager's namespaces.

Furnishes them, has the keeper start journald and the user manager, runs CMD as UID, reaps, and exits
with CMD's status. The oddities were each found by failing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import keeper
from person import CGROUPS, HOME, Person

HERE = Path(__file__).resolve().parent
JOURNALD_CONF = """[Journal]
Storage=persistent
ReadKMsg=no
Audit=no
RateLimitIntervalSec=0
ForwardToSyslog=no
ForwardToWall=no
"""
# What the person's own session would tell CMD: their bus, desktop, agents, manager and keiji.
FORGOTTEN = re.compile(
    r"DBUS_\w+|DISPLAY|WAYLAND_DISPLAY|SSH_AUTH_SOCK|XDG_\w+|INVOCATION_ID|JOURNAL_STREAM|LISTEN_\w+|MANAGERPID"
    r"|NOTIFY_SOCKET|SYSTEMD_EXEC_PID|SUDO_\w+|KEIJI_(HOME|WORKSPACE|HOST|BUS)"
)


def main(uid: int, command: Sequence[str]) -> int:
    """Returns the command's exit status, as a shell tells it."""
    interrupts: list[int] = []  # Ctrl-C is for the command
    signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number))
    umask = os.umask(0o022)
    person = Person(uid)
    furnish(person)
    keeper.fork(person)
    if interrupts:
        return 130
    try:
        started = person.start(command, person.session, environment(person), umask=umask)
    except OSError as error:
        print(f"user-manager: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    while True:
        pid, status = os.wait()
        if pid == started.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def environment(person: Person) -> dict[str, str]:
    """The environment of who asked, but for what belongs to their own session."""
    kept = {name: value for name, value in os.environ.items() if not FORGOTTEN.fullmatch(name)}
    inside = person.environment
    return {
        **kept,
        **inside,
        "PATH": f"{HERE / 'bin'}:{kept.get('PATH') or inside['PATH']}",
        "LANG": kept.get("LANG", inside["LANG"]),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={person.runtime}/bus",
        "KEIJI_TEST_MANAGER": "1",
    }


def furnish(person: Person) -> None:
    """Covers what is the machine's with file systems that only this namespace sees."""
    names = Path("/etc/resolv.conf")
    lies_at, text = names.resolve(), names.read_bytes() if names.exists() else b""
    tmpfs("/run")
    tmpfs("/var/log")  # not a folder journal in the machine's: that would make its own journald persistent
    tmpfs("/var/lib/systemd")  # lingering, stamps of timers
    tmpfs("/etc/systemd/user")  # what the machine starts at each login, such as a desktop's services
    if Path("/run") in lies_at.parents:
        lies_at.parent.mkdir(parents=True)
        lies_at.write_bytes(text)
    for folder in ("harness", "lock", "systemd/system", "systemd/journal", "systemd/journald.conf.d", "user"):
        Path("/run", folder).mkdir(parents=True, exist_ok=True)  # no `systemd --user` without systemd/system
    for folder in (HOME, Path("/var/lib/systemd/linger")):  # a test may turn lingering on
        folder.mkdir(mode=0o755)
        person.own(folder)
    HOME.chmod(0o700)
    Path("/run/systemd/journald.conf.d/zz-harness.conf").write_text(JOURNALD_CONF)
    name_machine()
    tmpfs(str(CGROUPS))  # between: a file system is not mounted over itself
    mount("-t", "cgroup2", "cgroup2", str(CGROUPS))  # one unified tree, on a hybrid machine too


def name_machine() -> None:
    """Gives the machine an id, which some images of containers lack, and the journal its folder."""
    file = Path("/etc/machine-id")
    if not file.exists():
        sys.exit("user-manager: /etc/machine-id is missing: run systemd-machine-id-setup")
    if not re.fullmatch(r"[0-9a-f]{32}", file.read_text().strip()):
        made_up = Path("/run/harness/machine-id")
        made_up.write_text(uuid.uuid4().hex + "\n")
        mount("--bind", str(made_up), str(file))
    Path("/var/log/journal", file.read_text().strip()).mkdir(parents=True)


def tmpfs(folder: str) -> None:
    if Path(folder).is_dir():
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)


def mount(*arguments: str) -> None:
    subprocess.run([shutil.which("mount", path="/usr/bin:/bin") or "mount", *arguments], check=True)


if __name__ == "__main__":
    try:
        sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
    except (OSError, subprocess.SubprocessError, keeper.NotUp) as failure:
        sys.exit(f"user-manager: {failure}")
