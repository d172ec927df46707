"""The text of the files that keiji writes into a workspace for the author to go on with."""

from __future__ import annotations

import re

PROJECT = """\
[project]
name = "keiji-tasks"
version = "0"
requires-python = ">=3.10"
# What your tasks import, one a line: "requests>=2", …  The next build installs it.
dependencies = []
"""

FUNCTION = """\
def function():
    print({greeting!r})
"""

SCHEDULE = """\
from keiji import Schedule


def schedule():
    return Schedule().run().every(10).seconds().build()
"""

MAIN = """\
\"\"\"Try this task by hand; keiji itself doesn't need this file.

python main.py --run       runs the function here, with .env
python main.py --schedule  prints the schedule, the next five times and the unit
\"\"\"

import sys

try:
    from keiji.foreground import main
except ImportError:
    sys.exit("this Python has no keiji in it; after a first build this one has: " + {python!r})

if __name__ == "__main__":
    sys.exit(main(__file__, unit={unit!r}, arguments=sys.argv[1:]))
"""

# Files that make a folder a task's, in the order in which an author meets them.
OWN = (".env", "function.py", "main.py", "schedule.py")


def task_files(name: str, description: str, unit: str, python: str) -> dict[str, str]:
    """The four files of a new task: name → text.

    `unit` is what the system calls it, `python` an interpreter that has the workspace's environment.
    """
    env = f"TASK_NAME={quoted(name)}\nTASK_DESCRIPTION={quoted(description)}\n"
    texts = (
        env,
        FUNCTION.format(greeting=f"Hello from {name}"),
        MAIN.format(unit=unit, python=python),
        SCHEDULE,
    )
    return dict(zip(OWN, texts, strict=True))


def quoted(value: str) -> str:
    """The value as ``.env`` says it: in double quotes, with a backslash before what would end them."""
    return '"' + re.sub(r'(["$\\])', r"\\\1", value) + '"'
