"""What keiji adds to each build beside the author's files: the runner, the kit, the constants."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from keiji import kit, runner
from keiji.executables import is_code
from keiji.inspection import byte_code_path, write_byte_code
from keiji.schedule import Schedule
from keiji.workspace import Sources

CONFIG = "keiji_config.py"


@dataclass(frozen=True)
class Donor:
    """A whole build that has these parts and the shared code of now; `files` are the names of all it has."""

    folder: Path
    files: frozenset[str]


@cache
def digest() -> str:
    """Changes when any of them does."""
    found = hashlib.sha256(runner.STUB.encode())
    for name, source in sorted(_sources().items()):
        found.update(name.encode() + b"\0" + source.read_bytes())
    return found.hexdigest()


def lay(folder: Path, donor: Donor | None) -> None:
    """Put them into a build, linked from `donor` where that works."""
    (folder / "start.py").write_text(runner.STUB, encoding="utf-8")
    (folder / "keiji" / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    for name, source in _sources().items():
        target = folder / name
        try:
            if donor is None:
                raise FileNotFoundError
            os.link(donor.folder / name, target)
            os.link(donor.folder / byte_code_path(name), byte_code_path(str(target)))
        except OSError:
            target.unlink(missing_ok=True)
            shutil.copyfile(source, target)
            _compile(target)


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


def lay_config(folder: Path, constants: Mapping[str, object]) -> None:
    """Write the constants that the runner reads of this task."""
    lines = [f"{name} = {value!r}\n" for name, value in constants.items()]
    (folder / CONFIG).write_text("".join(lines), encoding="utf-8")
    _compile(folder / CONFIG)


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


def _sources() -> dict[str, Path]:
    """The Python files: their names in a build → where they come from."""
    own = {name: kit.PACKAGE / original for original, name in runner.COPIES.items()}
    return own | {f"keiji/{module}.py": kit.PACKAGE / f"{module}.py" for module in kit.AUTHORING}


def _compile(path: Path) -> None:
    source = path.read_bytes()
    write_byte_code(str(path), source, compile(source, str(path), "exec", dont_inherit=True, optimize=0))
