"""Tasks that count for themselves how often they began, to be held against what is recorded."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

EVERY_HOUR = "Schedule().run().every(1).hours()"
EVERY_SECOND = "Schedule().run().every(1).seconds()"
_COUNTS = """\
import os

def function():
    with open({begun!r}, "a") as file:
        file.write(os.environ["INVOCATION_ID"] + "\\n")
"""


class Counted:
    """A task that notes the id of each of its runs in a file of its own, which no fault of a test touches."""

    def __init__(self, keiji, folder: Path, slug: str = "t", then: str = "", schedule: str = EVERY_SECOND):
        self.keiji = keiji
        self.slug = slug.replace(" ", "-")
        self.file = folder / f"begun-{slug}"
        self.file.touch()
        lines = "".join(f"    {line}\n" for line in then.splitlines())
        keiji.write_task(slug, _COUNTS.format(begun=str(self.file)) + lines, schedule)

    def begun(self) -> list[str]:
        """The ids of the runs that began, in order of their beginning."""
        return self.file.read_text().split()

    def recorded(self) -> list[dict]:
        """The runs in the history, the oldest first."""
        said = self.keiji("task", "history", self.slug, "-n", "1000000", "--json").stdout
        return json.loads(said)[::-1]

    def rest(self, wait_for: Callable[..., object]) -> None:
        """Have no further run begin, and the one in progress end, without a word to keiji."""
        subprocess.run(["systemctl", "--user", "stop", f"keiji-{self.slug}.timer"], check=True)
        ask = [
            "systemctl",
            "--user",
            "show",
            "--property=ActiveState",
            "--value",
            f"keiji-{self.slug}.service",
        ]
        wait_for(
            lambda: subprocess.check_output(ask, text=True)[:-1] in ("inactive", "failed"),
            "its last run to end",
        )

    def is_complete(self) -> bool:
        """Whether what began and what is recorded are the same runs, each once."""
        ids = sorted(run["id"] for run in self.recorded())
        print(f"{self.slug}: {len(self.begun())} runs begun, {len(ids)} recorded")
        return ids == sorted(self.begun())


def fire(task: Counted) -> None:
    """Start a run as the timer does."""
    subprocess.run(["systemctl", "--user", "start", "--no-block", f"keiji-{task.slug}.service"], check=True)


def build(keiji) -> None:
    """Have all tasks fire."""
    keiji("task", "build", "--all")
    keiji("system", "start")
