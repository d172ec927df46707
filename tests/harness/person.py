"""Who runs a command inside the harness: their ids, environment and cgroups."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HOME = Path("/run/home")  # empty at first, and gone with the namespace
CGROUPS = Path("/sys/fs/cgroup")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FOLDERS = {"CONFIG": ".config", "DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache"}


class Person:
    """A person of this machine, by their uid."""

    def __init__(self, uid: int) -> None:
        entry = pwd.getpwuid(uid)
        self.uid, self.gid, self.name, self.shell = uid, entry.pw_gid, entry.pw_name, entry.pw_shell
        self.runtime = Path(f"/run/user/{uid}")
        # journald knows a user's unit by these paths
        user = CGROUPS / "user.slice" / f"user-{uid}.slice"
        self.session = user / "session-1.scope"
        self.manager = user / f"user@{uid}.service"

    @property
    def environment(self) -> dict[str, str]:
        """What a login gives.

        Without `XDG_DATA_HOME` dbus-daemon would look for services in the home of the passwd entry,
        whatever `HOME` says.
        """
        return {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOME": str(HOME),
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
            "XDG_RUNTIME_DIR": str(self.runtime),
            **{f"XDG_{name}_HOME": str(HOME / folder) for name, folder in FOLDERS.items()},
        }

    def own(self, *paths: Path) -> None:
        """Makes files the person's."""
        for path in paths:
            os.chown(path, self.uid, self.gid)

    def start(
        self, command: Sequence[str], cgroup: Path, environment: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        """Starts a command as this person, in a cgroup."""

        def become() -> None:
            (cgroup / "cgroup.procs").write_text("0")
            os.initgroups(self.name, self.gid)
            os.setgid(self.gid)
            os.setuid(self.uid)

        return subprocess.Popen(command, env=environment, preexec_fn=become, **options)
