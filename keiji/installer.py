"""Installs the workspace's dependencies: by uv when it is on PATH, else by the Python's own pip."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import textwrap
from collections import deque
from collections.abc import Callable
from pathlib import Path

from keiji.errors import EnvironmentFailed
from keiji.folders import Folders

Progress = Callable[[str], None]
# (the environment's folder, requirements, progress) -> what was installed, in the form of `pip freeze`
Install = Callable[[Path, list[str], Progress], str]

# These would send the packages to another place than the environment.
_MISLEADING = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "VIRTUAL_ENV")


def choose(folders: Folders) -> Install:
    """The way of this machine; raises `EnvironmentFailed` when it has neither."""
    uv = shutil.which("uv")
    if uv is not None:
        return _Installer(folders, uv).by_uv
    if importlib.util.find_spec("ensurepip") is None:
        raise EnvironmentFailed(
            f"{folders.project} lists dependencies, and nothing here can install them: "
            "`sudo apt install python3-venv`, or put uv on PATH"
        )
    return _Installer(folders, "").by_pip


class _Installer:
    def __init__(self, folders: Folders, uv: str) -> None:
        self.project = folders.project
        self.uv = uv

    def by_uv(self, folder: Path, requirements: list[str], progress: Progress) -> str:
        python = ["--python", str(folder / "bin" / "python")]
        self._run([self.uv, "pip", "install", "--compile-bytecode", *python, "--", *requirements], progress)
        return self._run([self.uv, "pip", "freeze", *python], None)

    def by_pip(self, folder: Path, requirements: list[str], progress: Progress) -> str:
        python = str(folder / "bin" / "python")
        pip = [python, "-Im", "pip", "--disable-pip-version-check", "--no-input"]
        self._run([python, "-Im", "ensurepip", "--default-pip"], None)
        self._run([*pip, "install", "--", *requirements], progress)
        return self._run([*pip, "freeze"], None)

    def _run(self, command: list[str], progress: Progress | None) -> str:
        """What the command printed; in the workspace, so that relative paths mean what the author meant."""
        environ = {key: value for key, value in os.environ.items() if key not in _MISLEADING}
        process = subprocess.Popen(
            command,
            cwd=self.project.parent,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if progress else subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            said = _follow(process, progress)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode != 0:
            raise EnvironmentFailed(
                f"{self.project}: the dependencies could not be installed:\n{_reason(said)}"
            )
        return said


def _follow(process: subprocess.Popen[str], progress: Progress | None) -> str:
    if progress is None:
        out, err = process.communicate()
        return out if process.returncode == 0 else out + err
    assert process.stdout is not None
    last: deque[str] = deque(maxlen=50)
    for line in process.stdout:
        last.append(line)
        progress(line.rstrip())
    process.wait()
    return "".join(last)


def _reason(said: str) -> str:
    """The one line to show of an installer's last words: from its first error on, else its end."""
    lines = [textwrap.shorten(line, 200) for line in said.splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if line.lower().startswith(("error", "×"))]
    first = errors[0] if errors else -3
    return " ".join(lines[first:][:3]) or "the installer said nothing"
