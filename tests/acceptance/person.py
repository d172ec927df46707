"""An ordinary user of a box, who types keiji's commands."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from typing import Any, TypeVar

from box import Box

T = TypeVar("T")

BUS = "io.keiji.Bus1"
Run = dict[str, Any]


class Person:
    """Each call is a login session of its own."""

    def __init__(self, box: Box, name: str) -> None:
        self.box = box
        self.name = name
        self.home = f"/home/{name}"

    def sh(self, script: str, status: int | None = 0, timeout: float = 60) -> str:
        """What the script printed; see `Box.run`."""
        return self.box.login(self.name, script, status, timeout)

    def keiji(self, *words: str, status: int | None = 0, timeout: float = 60) -> str:
        """What the command printed."""
        return self.sh(shlex.join(["keiji", *words]), status, timeout)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """A command that goes on in a session of its own."""
        return self.box.begin_login(self.name, shlex.join(["keiji", *words]))

    # -- tasks ------------------------------------------------------------------------------------

    def write(self, task: str, function: str, schedule: str) -> None:
        """Create a task whose function has these lines, and whose schedule is this expression."""
        body = "\n".join(f"    {line}" for line in function.splitlines())
        files = {
            "function.py": f"def function():\n{body}\n",
            "schedule.py": f"from keiji import Schedule\n\n\ndef schedule():\n    return {schedule}\n",
        }
        lines = [f"keiji task create {task} --desc 'of the acceptance run'"]
        lines += [
            f"printf %s {shlex.quote(text)} > ~/keiji/tasks/{task}/{name}" for name, text in files.items()
        ]
        self.sh("\n".join(lines))

    def states(self) -> dict[str, str]:
        """Every task's state."""
        return {entry["name"]: entry["state"] for entry in json.loads(self.keiji("task", "list", "--json"))}

    def runs(self, task: str, number: int = 500) -> list[Run]:
        """The task's runs that have ended or go on, the last first."""
        found: list[Run] = json.loads(self.keiji("task", "history", task, "-n", str(number), "--json"))
        return found

    def wait_for_runs(self, task: str, enough: Callable[[list[Run]], T], what: str, timeout: float = 60) -> T:
        """Look until `enough` of the task's runs is true, and return that."""
        return self.box.wait_for(lambda: enough(self.runs(task)), what, timeout)

    # -- the bus ----------------------------------------------------------------------------------

    def ping(self) -> str:
        """The version of the bus, which is started where it doesn't run."""
        return shlex.split(self.sh(f"busctl --user call {BUS} /io/keiji/Bus1 {BUS} Ping"))[1]

    def bus_process(self) -> str:
        """The number of the bus's process; 0 when there is none."""
        return self.sh(f"systemctl --user show --property=MainPID --value {BUS}").strip()

    # -- the manager ------------------------------------------------------------------------------

    def verified(self) -> str:
        """What `systemd-analyze` says of keiji's units in the home and of the bus's."""
        units = "~/.config/systemd/user/*keiji*.{service,timer,target} " + f"{BUS}.service"
        said = self.sh(f"shopt -s nullglob; systemd-analyze --user verify {units} 2>&1", status=None)
        return "\n".join(line for line in said.splitlines() if "keiji" in line)

    # -- the home ---------------------------------------------------------------------------------

    def files(self) -> set[str]:
        """All that is in the home."""
        return {*self.box.run("find", self.home).splitlines()}

    def sums(self) -> str:
        """What is in the files of the home, and in its links."""
        find = f"cd {self.home} && find . -type f -exec sha256sum {{}} + && find . -type l -printf '%p %l\\n'"
        return "\n".join(sorted(self.box.run("sh", "-c", find).splitlines()))
