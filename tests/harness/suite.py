"""suite.py [ARGUMENTS OF PYTEST]: runs the suite under this interpreter, in a place of its own for each core.

A place has its own user manager, session bus, journal and home, so tests do there as they like, and
most of their time they wait. A debugger wants the suite in one: user-manager python -m pytest --pdb.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MANAGER = Path(__file__).with_name("user-manager")


def main(arguments: Sequence[str]) -> int:
    """Returns pytest's exit status."""
    # One first: sudo asks for the password once, and a machine where no manager comes up says why.
    subprocess.run([MANAGER, "true"], check=True)
    worker = shlex.join([str(MANAGER), sys.executable])
    places = f"{len(os.sched_getaffinity(0))}*popen//python={worker}"
    # The system tests come first and take longest: whoever is done takes over half of what another has.
    spread = ["--tx", places, "--dist", "worksteal"]
    return subprocess.call([sys.executable, "-m", "pytest", *spread, *arguments])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        sys.exit(failed.returncode)
