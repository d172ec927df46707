"""The two folders: the workspace, which the user writes, and the system folder, which keiji writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keiji.errors import UsageError


@dataclass(frozen=True)
class Folders:
    """Where everything lies. Nothing here touches the disk."""

    workspace: Path
    home: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Folders:
        """From ``KEIJI_WORKSPACE`` and ``KEIJI_HOME``, else ``~/keiji`` and ``~/.keiji``.

        Raises `UsageError` for folders that hold more than keiji, or each other.
        """
        user = Path(environ.get("HOME") or Path.home())
        workspace = Path(environ.get("KEIJI_WORKSPACE") or user / "keiji")
        home = Path(environ.get("KEIJI_HOME") or user / ".keiji")
        for name, folder in (("KEIJI_WORKSPACE", workspace), ("KEIJI_HOME", home)):
            # `system uninstall` removes these folders whole.
            if not folder.is_absolute() or folder == user or folder in user.parents:
                raise UsageError(f"{name}={folder}: a folder of its own is needed, as an absolute path")
        if workspace == home or workspace in home.parents or home in workspace.parents:
            raise UsageError(f"KEIJI_WORKSPACE={workspace} and KEIJI_HOME={home} must lie beside each other")
        return cls(workspace, home)

    # the workspace
    @property
    def settings(self) -> Path:
        return self.workspace / "settings.conf"

    @property
    def project(self) -> Path:
        return self.workspace / "pyproject.toml"

    @property
    def tasks(self) -> Path:
        return self.workspace / "tasks"

    # the system folder
    @property
    def database(self) -> Path:
        return self.home / "db" / "keiji.db"

    @property
    def venvs(self) -> Path:
        return self.home / "venv"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    def task_log(self, slug: str) -> Path:
        """What a task says, where logs are files; see `logfiles`."""
        return self.logs / "tasks" / slug / "task.log"

    def service_log(self, name: str) -> Path:
        return self.logs / "services" / f"{name}.log"

    @property
    def filed(self) -> Path:
        """Says that logs are files, whether or not a journal listens."""
        return self.run / "logs-are-files"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def elsewhere(self) -> Path:
        """Names the folders outside of both that were not there before keiji; see `traces`."""
        return self.home / "elsewhere"

    def builds(self, slug: str) -> Path:
        return self.home / "exec" / "tasks" / slug

    def current(self, slug: str) -> Path:
        return self.builds(slug) / "current"

    # run files: see `ledger` and `runner`
    def running(self, slug: str) -> Path:
        """The run in progress."""
        return self.run / "running" / slug

    @property
    def done(self) -> Path:
        """Runs that ended and wait to be delivered, named by their id."""
        return self.run / "done"

    @property
    def damaged(self) -> Path:
        """Run files that could not be read."""
        return self.run / "damaged"

    def held(self, slug: str) -> Path:
        """The latch."""
        return self.run / "held" / slug

    def requested(self, slug: str) -> Path:
        """A manual run was asked for and has not begun."""
        return self.run / "requested" / slug

    def stopping(self, slug: str) -> Path:
        """A deliberate stop is under way; holds the run's id."""
        return self.run / "stopping" / slug

    def last(self, slug: str) -> Path:
        """What the runner must remember from one firing to the next: a due time or a boot id."""
        return self.run / "last" / slug

    def stale(self, slug: str) -> Path:
        """The mark of a change that is under way or was cut short; see `marks`."""
        return self.run / "stale" / slug

    def lock(self, slug: str) -> Path:
        return self.run / "locks" / slug

    def made(self) -> tuple[Path, ...]:
        """Every folder that `init` makes in the system folder, parents first."""
        names = ("running", "done", "damaged", "held", "requested", "stopping", "last", "stale", "locks")
        return (
            self.home,
            self.home / "db",
            self.home / "exec" / "tasks",
            self.logs,
            self.venvs,
            self.run,
            *(self.run / name for name in names),
        )
