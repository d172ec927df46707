"""A workspace for tests, and short ways to write a task into it and build it."""

from __future__ import annotations

from pathlib import Path

from keiji import build as building
from keiji import environment, workspace
from keiji.build import Built
from keiji.environment import Environment
from keiji.evaluating import Evaluator
from keiji.folders import Folders
from keiji.schedule import Schedule
from keiji.settings import Settings

FUNCTION = "def function():\n    print('done')\n"
SCHEDULE_HEAD = "from keiji import Schedule\n\n\ndef schedule():\n"
SCHEDULE = SCHEDULE_HEAD + "    return Schedule().run().every(10).seconds()\n"


def new_folders(base: Path) -> Folders:
    """The two folders, with a workspace in its first state."""
    folders = Folders(base / "workspace", base / "home")
    workspace.make_workspace(folders, "TIME_ZONE=UTC\n")
    return folders


def ready(folders: Folders) -> Environment:
    """The workspace's environment, made without a word."""
    return environment.ensure(folders, lambda line: None)


def write_task(
    folders: Folders, name: str = "ping", function: str = FUNCTION, schedule: str = SCHEDULE, **others: str
) -> Path:
    """Scaffold the task or change it; `others` are further files by their name before ``.py``."""
    folder = folders.tasks / name
    if not folder.exists():
        workspace.create_task(folders, name, "a task")
    for stem, text in {"function": function, "schedule": schedule, **others}.items():
        (folder / f"{stem}.py").write_text(text, encoding="utf-8")
    return folder


def firing(schedule: Schedule, slug: str) -> dict[str, object]:
    """What a host answers for a schedule that the system can do by itself."""
    return {"GUARD": "", "GRACE": 0.0, "PERIOD": 10.0, "PHASE": 0.0, "CATCH_UP": False, "LIMIT": 0.0}


class Bench:
    """Builds tasks as a command does."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.environment = ready(folders)
        self.evaluator = Evaluator(self.environment)
        self.settings = Settings(folders)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.evaluator.close()

    def build(
        self,
        name: str = "ping",
        firing_of: building.FiringOf = firing,
        stock: building.Stock | None = None,
    ) -> Built:
        """Build the task and swap it in."""
        built = self.try_build(name, firing_of, stock)
        building.swap(self.folders, built.slug, built.hash)
        return built

    def try_build(
        self,
        name: str = "ping",
        firing_of: building.FiringOf = firing,
        stock: building.Stock | None = None,
    ) -> Built:
        """Build the task; as a new command would, unless there is a stock of builds before."""
        others = (self.evaluator, self.environment, firing_of, stock)
        return building.build(self.folders, self.settings, name, *others)


def contents(folder: Path) -> dict[str, str]:
    """All that is in a folder: links by their target, files by their text."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes().decode("latin-1")
        else:
            found[name] = ""
    return found
