"""What keiji adds to each build beside the author's files: the runner with its constants, and the kit."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

from keiji import kit, runner_start
from keiji.executables import is_code
from keiji.inspection import byte_code, byte_code_path
from keiji.schedule import Schedule
from keiji.workspace import Sources


@dataclass(frozen=True)
class Donor:
    """A whole build that has these parts and the shared code of now; `files` are the names of all it has."""

    folder: Path
    files: frozenset[str]


@cache
def digest() -> str:
    """Changes when any of them does."""
    found = hashlib.sha256()
    kits = {kit.source(module) for module in kit.AUTHORING}
    for path in sorted({*kits, *kit.PACKAGE.glob("runner*.py")}):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def lay(folder: Path, constants: Mapping[str, object], donor: Donor | None) -> None:
    """Put them into a build; what is the same in all builds is linked from `donor`."""
    runner_start.write_runner(folder, constants)
    start = (folder / "start.py").read_bytes()
    (folder / runner_start.START).write_bytes(byte_code(start, _start_code(start)))
    for name in ("", "keiji"):
        (folder / name / "__pycache__").mkdir(parents=True)
    lender = None if donor is None else str(donor.folder)
    for module in kit.AUTHORING:
        _lay_source(str(folder), lender, f"keiji/{module}.py", kit.source(module))
    for helper in folder.glob("keiji_*.py"):
        _lay_byte_code(str(folder), lender, helper.name)


def task_constants(sources: Sources, schedule: Schedule) -> dict[str, object]:
    """What the runner must know of a task, whatever the system; the schedule names its zone."""
    policy = schedule.policy
    return {
        "SLUG": sources.slug,
        "NAME": sources.name,
        "DESCRIPTION": sources.description,
        "ENV_FILE": str(sources.folder / ".env"),
        "KIND": schedule.kind,
        "SCHEDULE": schedule.to_dict(),
        "JITTER": float(policy.jitter),
        "TRIES": policy.tries,
        "DELAY": float(policy.delay),
        "BACKOFF": float(policy.backoff),
        "TIMEOUT": float(policy.timeout or 0),
        "HOLD": policy.on_failure == "hold",
    }


def link_shared(donor: Donor, folder: Path) -> None:
    """Link the code that tasks share from another build; raises OSError when that can't be done.

    A file that is no code is never linked, since a run might write to it.
    """
    (folder / "shared").mkdir(0o700)
    for name in donor.files:
        if name.startswith("shared/"):
            if not is_code(name):
                raise FileNotFoundError
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(donor.folder / name, folder / name)


def _start_code(source: bytes) -> CodeType:
    """The code of ``start.py``.

    Most of it is the runner, the same for all tasks of a command and a quarter of the time that a build
    takes: it is compiled once, and run from the code of the rest.
    """
    runner = kit.source("runner").read_bytes()
    if not source.startswith(runner + b"\n"):
        return _compile(source)
    rest = b"\n" * runner.count(b"\n") + source[len(runner) :]  # keeps its line numbers
    both = {"runner": _compiled(runner), "rest": _compile(rest)}
    joined = _compile(b"exec('runner'); exec('rest')")
    return joined.replace(co_consts=tuple(both.get(const, const) for const in joined.co_consts))


def _compile(source: bytes, name: str = "start.py") -> CodeType:
    return compile(source, name, "exec", dont_inherit=True, optimize=0)


_compiled = cache(_compile)


def _lay_source(folder: str, lender: str | None, name: str, source: Path) -> None:
    if not _is_linked(folder, lender, name):
        shutil.copyfile(source, f"{folder}/{name}")
    _lay_byte_code(folder, lender, name)


def _lay_byte_code(folder: str, lender: str | None, name: str) -> None:
    compiled = byte_code_path(name)
    if not _is_linked(folder, lender, compiled):
        source = Path(folder, name).read_bytes()
        Path(folder, compiled).write_bytes(byte_code(source, _compiled(source, name)))


def _is_linked(folder: str, lender: str | None, name: str) -> bool:
    """Whether the file could be linked: not across file systems, nor when the donor has been removed."""
    if lender is None:
        return False
    try:
        os.link(f"{lender}/{name}", f"{folder}/{name}")
    except OSError:
        return False
    return True
