"""The workspace's environments: one virtual environment for each list of dependencies that was built with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import sysconfig
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from keiji import executables, files, installer, kit
from keiji.errors import EnvironmentFailed
from keiji.folders import Folders
from keiji.interpreters import lasting
from keiji.locks import folder_lock
from keiji.project import read_dependencies

Progress = Callable[[str], None]

_COMPLETE = ".complete"  # written last: an environment without it was cut off while it was made
_RECENT = 3600.0  # seconds after which no build is under way that has asked for it


@dataclass(frozen=True)
class Environment:
    """Where the workspace's Python is.

    `interpreter` is the real, versioned file behind `python`, the environment's own. `paths` is what
    a run without ``site`` needs on ``sys.path``; `needs_site`: some ``.pth`` file holds code, so that
    there is no such list.
    """

    name: str
    folder: Path
    interpreter: str
    python: str
    paths: tuple[str, ...]
    needs_site: bool


def ensure(folders: Folders, progress: Progress, anew: bool = False) -> Environment:
    """The environment for what ``pyproject.toml`` lists now, made when there is none (or `anew`).

    `progress` gets lines of text while one is made. Raises `InvalidProject`, `EnvironmentFailed`.
    """
    if os.pathsep in str(folders.venvs):
        raise EnvironmentFailed(
            f"{folders.home}: no environment works in a path with {os.pathsep!r}: choose another KEIJI_HOME"
        )
    dependencies = read_dependencies(folders.project)
    digest = _digest(dependencies)
    folders.venvs.mkdir(mode=0o700, parents=True, exist_ok=True)
    with folder_lock(folders.venvs):
        folder = _newest(folders, digest)
        if folder is None or anew:
            folder = _make(folders, _next_name(folders, digest), dependencies, progress)
            _prune(folders, {folder.name, *executables.environments(folders)})
        os.utime(folder / _COMPLETE)
        kit.lay(_site_packages(folder))
        if not _points_at(folders.venvs / "current", folder.name):
            files.link(folders.venvs / "current", folder.name)
    return _described(folder)


def remake(folders: Folders, progress: Progress) -> Environment:
    """An environment made anew though nothing has changed; builds made before keep theirs."""
    return ensure(folders, progress, anew=True)


def interpreter() -> str:
    """The real file of the Python that runs keiji, outside any virtual environment, by a name that lasts."""
    return lasting(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))


def _digest(dependencies: list[str]) -> str:
    """Names an environment by what goes into it; a patch release of Python changes nothing."""
    inputs = [sorted(dependencies), interpreter(), sys.implementation.cache_tag]
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]


def _newest(folders: Folders, digest: str) -> Path | None:
    complete = [folder for folder in _made_of(folders, digest) if (folder / _COMPLETE).exists()]
    return max(complete, key=_generation, default=None)


def _next_name(folders: Folders, digest: str) -> str:
    """The digest itself, then with ``.2``, ``.3``, …: builds go on in the one they were made with."""
    taken = [_generation(folder) for folder in _made_of(folders, digest) if (folder / _COMPLETE).exists()]
    return f"{digest}.{max(taken) + 1}" if taken else digest


def _made_of(folders: Folders, digest: str) -> list[Path]:
    return [folder for folder in _folders(folders) if folder.name.partition(".")[0] == digest]


def _generation(folder: Path) -> int:
    return int(folder.name.partition(".")[2] or 1)


def _folders(folders: Folders) -> list[Path]:
    with os.scandir(folders.venvs) as entries:
        return [Path(e.path) for e in entries if e.is_dir(follow_symlinks=False) and e.name[0] != "."]


def _make(folders: Folders, name: str, dependencies: list[str], progress: Progress) -> Path:
    """Make it in its final place, since an environment can't be moved; remove it again when that fails."""
    folder = folders.venvs / name
    install = installer.choose(folders) if dependencies else None
    _remove(folder)
    progress(f"making the workspace's environment in {folder}")
    try:
        _create(folder)
        lock = install(folder, dependencies, progress) if install else ""
        files.write(_lock_file(folder), lock)
        (folder / _COMPLETE).touch()
    except BaseException:
        _remove(folder)
        raise
    return folder


def _prune(folders: Folders, named: set[str]) -> None:
    """Remove the environments that are not `named`, but for those that another command may build with."""
    for folder in _folders(folders):
        if folder.name not in named and not _is_recent(folder):
            _remove(folder)


class _Builder(venv.EnvBuilder):
    """Links to `interpreter`; its base would name a version of Homebrew's, which an upgrade removes."""

    def ensure_directories(self, env_dir: str | os.PathLike[str]) -> SimpleNamespace:  # type: ignore[override]
        found: SimpleNamespace = super().ensure_directories(env_dir)
        found.executable = interpreter()
        found.python_dir = os.path.dirname(found.executable)
        return found


def _create(folder: Path) -> None:
    """An empty environment; without pip this works where Debian's python3-venv is missing."""
    try:
        _Builder(symlinks=True, with_pip=False).create(folder)
    except OSError as error:
        raise EnvironmentFailed(f"{folder} could not be made: {error}") from None
    if not (folder / "bin" / "python").exists():
        raise EnvironmentFailed(f"{folder} could not be made: {interpreter()} is not there")


def _described(folder: Path) -> Environment:
    packages = _site_packages(folder)
    added, needs_site = _path_files(packages)
    python = str(folder / "bin" / "python")
    return Environment(folder.name, folder, interpreter(), python, (str(packages), *added), needs_site)


def _site_packages(folder: Path) -> Path:
    base = {"base": str(folder), "platbase": str(folder)}
    return Path(sysconfig.get_path("purelib", "posix_prefix", vars=base))


def _path_files(packages: Path) -> tuple[list[str], bool]:
    """What ``site`` would make of the ``.pth`` files: folders that they add, and whether any holds code."""
    added: list[str] = []
    for file in sorted(packages.glob("*.pth")):
        if file.name == "distutils-precedence.pth" and sys.version_info < (3, 12):
            continue  # setuptools comes with pip here, and the library has a distutils of its own
        for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            if line.startswith(("import ", "import\t")):
                return [], True
            path = os.path.join(packages, line.strip())
            if line.strip() and line[0] != "#" and os.path.exists(path) and path not in added:
                added.append(path)
    return added, False


def _is_recent(folder: Path) -> bool:
    marker = folder / _COMPLETE
    return marker.exists() and time.time() - marker.stat().st_mtime < _RECENT


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove(folder: Path) -> None:
    """Remove an environment; its mark first, so that one that is half removed is not taken for whole."""
    (folder / _COMPLETE).unlink(missing_ok=True)
    _lock_file(folder).unlink(missing_ok=True)
    if folder.is_dir():
        shutil.rmtree(folder)


def _points_at(link: Path, target: str) -> bool:
    return link.is_symlink() and os.readlink(link) == target
