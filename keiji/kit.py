"""The few files of keiji that an author's code may import, laid into environments and builds.

They use the standard library alone, so that a workspace has none of keiji's own dependencies.
"""

from __future__ import annotations

from pathlib import Path

from keiji import files, schedule

# What `from keiji import Schedule` needs.
AUTHORING = ("__init__", *schedule.PARTS)
# What a workspace's environment has beside: main.py tries a task by hand, and each build checks it.
TOOLS = (
    *("foreground", "runner", "runner_rare", "runner_tries", "settings", "folders"),
    *("inspection", "evaluate"),
)

PACKAGE = Path(__file__).parent


def lay(packages: Path) -> None:
    """Make ``packages/keiji`` hold this keiji's kit; files that are right already are left alone."""
    folder = packages / "keiji"
    folder.mkdir(exist_ok=True)
    for module in (*AUTHORING, *TOOLS):
        path = source(module)
        text = path.read_text(encoding="utf-8")
        if files.read(folder / path.name) != text:
            files.write(folder / path.name, text, mode=0o644)


def source(module: str) -> Path:
    """Where a module of keiji lies."""
    return PACKAGE / f"{module}.py"
