"""`make acceptance [ARGS=12]`: keiji's package on whole machines, booted with systemd as PID 1.

Prints a line for each step of each Debian; exit status 0 when all did what they should. It needs root, or
asks for it by sudo, and leaves nothing behind but the packages and, in `.boxes/`, the trees that it boots
copies of.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import trees
from box import sweep_cgroups
from report import Failed, step

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BOXES = ROOT / ".boxes"
DEBIANS = {"12": "bookworm", "13": "trixie"}
NEXT = "999.0.0"
TOOLS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
PATIENCE = 900  # seconds for one Debian
# Whatever happens to who started this: with its first process all go, boxes and mounts among it.
ALONE = [
    "unshare",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
]


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if arguments[:1] != ["--inside"]:
        go_inside(arguments)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return accept(arguments[1:] or [*DEBIANS])


def go_inside(arguments: Sequence[str]) -> NoReturn:
    """Begin anew as root in namespaces of its own."""
    if unknown := set(arguments) - {*DEBIANS}:
        raise Failed(f"no such Debian here: {', '.join(unknown)}")
    if os.getuid() != 0:
        if not shutil.which("sudo"):
            raise Failed("needs root to boot machines: run it as root, or install sudo")
        os.execvp("sudo", ["sudo", "--", sys.executable, "-B", str(HERE), *arguments])
    install_tools()
    os.execvp(ALONE[0], [*ALONE, sys.executable, "-B", str(HERE), "--inside", *arguments])


def accept(debians: Sequence[str]) -> int:
    """Make what is missing, then walk through all of them side by side."""
    BOXES.mkdir(exist_ok=True)
    lock = (BOXES / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failed("another acceptance run goes on in this checkout") from None
    sweep()
    with ThreadPoolExecutor() as pool:
        packages = pool.submit(build_packages)
        made = {debian: pool.submit(make_tree, debian) for debian in debians}
        walks = [walk(debian, made[debian].result(), packages.result()) for debian in debians]
    try:
        return max([process.wait(PATIENCE) for process in walks])
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {PATIENCE} s") from None
    finally:
        for process in walks:
            process.terminate()
        for process in walks:
            process.wait(60)
        sweep()


def build_packages() -> tuple[Path, Path]:
    """The package, and the same that calls itself newer."""
    with step("", "package", "the package is built, its tests pass, and lintian finds nothing"):
        for words in ([], [NEXT, "build"]):
            as_person([str(ROOT / "packaging" / "deb"), *words])
    version = re.search(r'^__version__ = "(.*)"', (ROOT / "keiji/__init__.py").read_text(), re.M)
    assert version
    return ROOT / f"dist/keiji_{version[1]}_all.deb", ROOT / f"build/keiji_{NEXT}_all.deb"


def make_tree(debian: str) -> Path:
    with step(debian, "tree", "there is a minimal tree"):
        return trees.make(DEBIANS[debian], BOXES)


def walk(debian: str, tree: Path, packages: Sequence[Path]) -> subprocess.Popen[bytes]:
    """A process of its own walks through one Debian."""
    command = [sys.executable, "-B", str(HERE / "walk.py"), debian, str(tree), *map(str, packages)]
    return subprocess.Popen(command)


def as_person(command: Sequence[str]) -> None:
    """Run it as who asked, so that what it makes is theirs; raises `Failed` with its last words."""
    before = ["sudo", "-u", f"#{os.environ['SUDO_UID']}", "--"] if "SUDO_UID" in os.environ else []
    done = subprocess.run(
        [*before, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(done.stdout)


def install_tools() -> None:
    """What boots trees, where this machine lacks it."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if not missing:
        return
    print(f"acceptance: installing {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *missing]
    for command in (install, ["apt-get", "-qq", "update"], install):
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if command is install and done.returncode == 0:
            return
    raise Failed(f"can't be installed: {' '.join(missing)}")


def sweep() -> None:
    """Remove what a run that was killed has left, and what this one has made to be booted."""
    sweep_cgroups()
    for left in BOXES.glob("run-*"):
        shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failed:
        sys.exit(f"acceptance: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
