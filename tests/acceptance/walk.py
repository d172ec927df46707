"""`walk.py DEBIAN TREE PACKAGE NEWER`: takes all steps on a machine that is a copy of the tree."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import old
import power
import trees
import using
import versions
from box import Box
from person import Person
from report import Failed, step
from scene import Scene

TOO_OLD = "11"
STEPS = (*using.STEPS, *power.STEPS, *versions.STEPS)


def main(debian: str, tree: Path, package: Path, newer: Path) -> int:
    """Returns 0 when each step did what it should; the first that did not is the last."""
    root = tree.with_name(f"run-{debian}")
    box = Box(root, debian)
    scene = Scene(box, Person(box, "ada"), Person(box, "bob"), version(package), version(newer))
    try:
        with step(debian, "copy", "what the package depends on is fetched, and the tree copied"):
            trees.copy(tree, root, None if debian == TOO_OLD else trees.fetch(tree, package))
            for file in (package, newer):
                shutil.copy(file, root / "srv" / f"{version(file)}.deb")
        for take in old.STEPS if debian == TOO_OLD else STEPS:
            with step(debian, take.__name__, str(take.__doc__)):
                take(scene)
    except (Failed, LookupError, ValueError) as problem:
        print(f"{debian} {problem}\n{last_words(box)}", file=sys.stderr)
        return 1
    finally:
        with step(debian, "off", "the machine is removed"):
            box.cut()
            shutil.rmtree(root, ignore_errors=True)
    return 0


def version(package: Path) -> str:
    name = re.fullmatch(r"keiji_(.*)_all\.deb", package.name)
    assert name
    return name[1]


def last_words(box: Box) -> str:
    """What may tell why a step failed."""
    said = ""
    with contextlib.suppress(Failed, subprocess.SubprocessError):
        said += box.run("journalctl", "--no-pager", "--lines=60", "--output=short-iso-precise")
    if box.console.exists():
        said += "\n".join(box.console.read_text(errors="replace").splitlines()[-10:])
    return said


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main(sys.argv[1], *map(Path, sys.argv[2:5])))
