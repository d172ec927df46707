"""A keiji of the bench's own, with folders on the disk, and what it is measured with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PYTHON = str(Path(sys.prefix, "bin", "python"))
KEIJI = str(Path(sys.prefix, "bin", "keiji"))
BARE = (PYTHON, "-c", "pass")
UNITS = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "systemd", "user")
PASS = "def function():\n    pass\n"
DAILY = "Schedule().run().every(24).hours()"


class CouldNot(Exception):
    """Something that is measured did not work."""


@dataclass(frozen=True)
class Place:
    """An initialised keiji."""

    workspace: Path

    def write_task(self, slug: str, function: str = PASS, schedule: str = DAILY) -> None:
        """What `task create` and an author write; a thousand calls of it would take a while."""
        folder = self.workspace / "tasks" / slug
        folder.mkdir()
        (folder / "function.py").write_text(function)
        (folder / "schedule.py").write_text(
            f"from keiji import Schedule\n\n\ndef schedule():\n    return {schedule}\n"
        )
        env = folder / ".env"
        env.touch(0o600)
        env.write_text(f"TASK_NAME={slug}\nTASK_DESCRIPTION=measured\n")


@contextmanager
def place() -> Iterator[Place]:
    """A keiji in folders of its own; nothing of it is left afterwards.

    They lie on a disk, as a person's do: the home that the harness gives is in memory.
    """
    with tempfile.TemporaryDirectory(prefix="keiji-bench-", dir="/var/tmp") as root:
        os.environ["KEIJI_WORKSPACE"] = f"{root}/keiji"
        os.environ["KEIJI_HOME"] = f"{root}/.keiji"
        run(KEIJI, "init")
        try:
            yield Place(Path(root, "keiji"))
        except BaseException:
            subprocess.run([KEIJI, "system", "uninstall", "--yes"], capture_output=True, check=False)
            raise
        run(KEIJI, "system", "uninstall", "--yes")


def run(*command: str) -> float:
    """Runs a command that must succeed; returns the seconds it took."""
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1)]
    with tempfile.TemporaryFile() as said:
        quiet.append((os.POSIX_SPAWN_DUP2, said.fileno(), 2))  # type: ignore[arg-type]
        began = time.perf_counter()
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=quiet)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter() - began
        if status:
            said.seek(0)
            words = said.read().decode(errors="replace").strip()
            raise CouldNot(f"{' '.join(command[:4])}: {words or f'wait status {status}'}")
    return took


def bare(times: int) -> float:
    """Seconds for so many bare pythons, one after the other."""
    return sum(run(*BARE) for _ in range(times))


def systemctl(*words: str) -> float:
    """One call for the user manager; returns the seconds it took."""
    return run("systemctl", "--user", "--quiet", *words)


def ask(*words: str) -> str:
    """What `systemctl --user` answers."""
    return subprocess.run(
        ["systemctl", "--user", *words], capture_output=True, text=True, check=True
    ).stdout.strip()


def settle() -> None:
    """Lets the manager finish what it does after a stop, which the next measurement must not pay for."""
    systemctl("list-units", "nothing-*")
    time.sleep(0.5)


def cgroup() -> Path:
    """The folder of the user manager's control group: it and all that it started."""
    group = ask("show", "--property=ControlGroup", "--value").lstrip("/")
    for top in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (top / group / "cpu.stat").exists():
            return top / group
    raise CouldNot(f"there is no cgroup2 folder of {group}")


def write_plain(name: str, command: Sequence[str], calendar: str) -> None:
    """A timer and a service as a person would write them by hand, who knows of the start limit."""
    UNITS.mkdir(parents=True, exist_ok=True)
    unit = "[Unit]\nStartLimitIntervalSec=0\n"
    service = f"{unit}[Service]\nType=oneshot\nExecStart={' '.join(command)}\n"
    (UNITS / f"{name}.service").write_text(service)
    (UNITS / f"{name}.timer").write_text(f"{unit}[Timer]\nOnCalendar={calendar}\nAccuracySec=1us\n")


def remove_plain(names: Sequence[str]) -> None:
    """Removes what `write_plain` wrote; the manager forgets it at its next reload."""
    for name in names:
        for suffix in (".service", ".timer"):
            (UNITS / f"{name}{suffix}").unlink(missing_ok=True)
