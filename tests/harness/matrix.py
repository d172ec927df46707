"""Runs the suite on the oldest and the newest Python of this machine, with the oldest and newest libraries.

Each combination gets a virtual environment under `.venvs/`, without the system's packages: PyGObject is
compiled, once a Python, since pip keeps the wheel that it built. With arguments, pytest gets just these;
without, the tests that may differ by Python or library. `--noble` before them: Ubuntu 24.04's instead.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# These watch systemd, the journal or the harness at work, or repeat with it what the unit tests show:
# the same on each Python and with all libraries, so `make test` is enough.
ALIKE = ("arming", "bus_killed", "bus_many", "bus_unit", "failures", "harness", "latch", "lifecycle")
ALIKE += ("logs", "loopback", "many", "watching")
NOBLE = (3, 12)
KNOWN = [(3, 10), (3, 11), (3, 12), (3, 13), (3, 14)]
# What they have to be able to do; a pyenv shim without its version fails here.
PROBE = (
    "import ensurepip, pathlib, sqlite3, ssl, sys, sysconfig, venv;"
    "sys.exit(sys.implementation.name != 'cpython' or sys.version_info.releaselevel != 'final'"
    " or bool(sysconfig.get_config_var('Py_GIL_DISABLED'))"
    " or not pathlib.Path(sysconfig.get_path('include'), 'Python.h').exists()"
    " or print(*sys.version_info[:3]))"
)
NOT_HERE = {"mypy", "ruff"}  # tools


@dataclass(frozen=True)
class Combination:
    """A Python with libraries of some age: ``oldest``, ``newest``, or ``noble`` for Ubuntu 24.04's."""

    python: Path
    version: tuple[int, ...]
    libraries: str

    def __str__(self) -> str:
        return f"Python {dotted(self.version)} with the {self.libraries} libraries"

    @property
    def venv(self) -> Path:
        return ROOT / ".venvs" / f"{dotted(self.version)}-{self.libraries}"

    @property
    def constraints(self) -> list[Path]:
        """The file of their versions; none for the newest."""
        return [*(ROOT / "tests").glob(f"constraints-{self.libraries}.txt")]


def main(arguments: Sequence[str]) -> int:
    """Returns 0 when every combination passed."""
    pythons = found()
    wanted = ubuntu(pythons) if "--noble" in arguments else both_ends(pythons)
    arguments = [word for word in arguments if word != "--noble"]
    results = {combination: run(combination, arguments) for combination in wanted}

    missing = [f"{major}.{minor}" for major, minor in KNOWN if (major, minor) not in {v[:2] for v in pythons}]
    print("\nmatrix: Pythons of this machine:", ", ".join(map(dotted, sorted(pythons))))
    if missing:
        print("matrix: not on this machine or without headers, so not tested: Python", ", ".join(missing))
    for combination, passed in results.items():
        print(f"matrix: {combination}: {'passed' if passed else 'FAILED'}")
    return 0 if results and all(results.values()) else 1


def both_ends(pythons: Mapping[tuple[int, ...], Path]) -> list[Combination]:
    lowest, highest = min(pythons), max(pythons)
    return [Combination(pythons[lowest], lowest, "oldest"), Combination(pythons[highest], highest, "newest")]


def ubuntu(pythons: Mapping[tuple[int, ...], Path]) -> list[Combination]:
    """Ubuntu 24.04's, as far as it can be had here; its oldest fellow 22.04 is the oldest combination."""
    return [Combination(pythons[version], version, "noble") for version in pythons if version[:2] == NOBLE]


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def found() -> dict[tuple[int, ...], Path]:
    """The machine's Pythons from 3.10 on: version → interpreter, the newest patch of each."""
    newest: dict[tuple[int, ...], tuple[tuple[int, ...], Path]] = {}
    for python in dict.fromkeys(candidates()):
        probe = subprocess.run([python, "-I", "-c", PROBE], capture_output=True, text=True, check=False)
        version = tuple(map(int, probe.stdout.split())) if probe.returncode == 0 else ()
        if version >= KNOWN[0] and version > newest.get(version[:2], ((), python))[0]:
            newest[version[:2]] = version, python
    return dict(newest.values())


def candidates() -> Iterator[Path]:
    """Interpreters on PATH, of pyenv and of uv."""
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT", home / ".pyenv"))
    folders = [Path(folder) for folder in os.get_exec_path() if ".venv" not in folder]
    folders += [Path("/usr/local/bin"), Path("/usr/bin")]
    folders += [*pyenv.glob("versions/*/bin"), *(home / ".local/share/uv/python").glob("*/bin")]
    for folder in folders:
        yield from (file for file in folder.glob("python3.*") if re.fullmatch(r"python3\.\d+", file.name))


def run(combination: Combination, arguments: Sequence[str]) -> bool:
    """Makes the combination's environment when it is not there, and runs the suite in it."""
    print(f"\nmatrix: {combination}", flush=True)
    python = combination.venv / "bin" / "python"
    ready = combination.venv / ".ready"
    newest = max(file.stat().st_mtime for file in (ROOT / "pyproject.toml", *combination.constraints))
    if not (ready.exists() and ready.stat().st_mtime > newest):
        install(combination, python)
        ready.touch()
    tests = arguments or [f"--ignore=tests/system/test_{name}.py" for name in ALIKE]
    command = [python, ROOT / "tests" / "harness" / "suite.py", *tests]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def install(combination: Combination, python: Path) -> None:
    """keiji without its dependencies, then those that are wanted here."""
    shutil.rmtree(combination.venv, ignore_errors=True)
    subprocess.run([combination.python, "-m", "venv", combination.venv], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--use-pep517"]
    constraints = [f"--constraint={file}" for file in combination.constraints]
    # peewee's SQLite extensions would need a compiler, and keiji does not use them
    environment = {**os.environ, "NO_SQLITE": "1"}
    subprocess.run([*pip, *constraints, *libraries()], env=environment, check=True)
    subprocess.run([*pip, "--no-deps", "--editable", ROOT], check=True)


def libraries() -> list[str]:
    """keiji's requirements and the suite's, as pyproject.toml has them."""
    lines = [line.partition(";")[0].strip() for line in requires("keiji") or []]
    wanted = {re.split(r"[^\w.-]", line.lower())[0]: line for line in lines}
    # as a wheel: psycopg2 itself would be compiled, and wants PostgreSQL's headers
    wanted["psycopg2"] = wanted["psycopg2"].replace("psycopg2", "psycopg2-binary")
    if not has_new_girepository():
        wanted["pygobject"] += ",<3.51"
    return [line for name, line in wanted.items() if name not in NOT_HERE]


def has_new_girepository() -> bool:
    """Whether this machine has the girepository-2.0 that PyGObject wants from 3.51 on."""
    asked = subprocess.run(["pkg-config", "--exists", "girepository-2.0"], check=False)
    return asked.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
