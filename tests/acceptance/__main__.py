"""`make acceptance [ARGS=12]`: keiji's package on whole machines, booted with systemd as PID 1.

Debian 12 and 13 are taken if none is named. ARGS=11 shows only what systemd 247 says about the units.
Prints a line for each step of each Debian; exit status 0 when all did what they should. It needs root, or
asks for it by sudo, and leaves nothing behind but the packages in `build/` and, in `.boxes/`, the trees
that it boots copies of, and what was told on their consoles.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trees
from alone import BOXES, INSIDE, ROOT, begin, build_package
from report import Failed, step

HERE = Path(__file__).resolve().parent
BUILT = ROOT / "build"
DEBIANS = {"11": "bullseye", "12": "bookworm", "13": "trixie"}
USUAL = ("12", "13")
NEXT = "999.0.0"
TOOLS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
PATIENCE = 900  # seconds for one Debian


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    debians = [word for word in arguments if word != INSIDE]
    if unknown := set(debians) - {*DEBIANS}:
        raise Failed(f"no such Debian here: {', '.join(unknown)}")
    return begin(HERE, arguments, TOOLS, lambda: accept(debians or USUAL))


def accept(debians: Sequence[str]) -> int:
    """Make what is missing, then walk through all Debians side by side."""
    walks: list[subprocess.Popen[bytes]] = []
    try:
        with ThreadPoolExecutor() as pool:
            packages = pool.submit(build_packages)
            made = {debian: pool.submit(make_tree, debian) for debian in debians}
            for debian in debians:
                walks.append(walk(debian, made[debian].result(), packages.result()))
            # Boxes mostly wait, so this machine may as well test.
            tested = pool.submit(test_package, packages.result()[0])
            failed = [process.wait(PATIENCE) != 0 for process in walks]
            tested.result()
            return int(any(failed))
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {PATIENCE} s") from None
    finally:
        for process in walks:
            process.terminate()
            process.wait(60)


def build_packages() -> tuple[Path, Path]:
    """The package, and the same that calls itself newer."""
    version = re.search(r'^__version__ = "(.*)"', (ROOT / "keiji/__init__.py").read_text(), re.M)
    assert version
    with step("", "package", "the package is built, and the same that calls itself newer"):
        for number in (version[1], NEXT):
            build_package(str(BUILT), number, umask=0o077, environment={"TZ": "Pacific/Kiritimati"})
    return BUILT / f"keiji_{version[1]}_all.deb", BUILT / f"keiji_{NEXT}_all.deb"


def test_package(accepted: Path) -> None:
    """The one that `make deb` makes is the one that is accepted."""
    with step(
        "", "test", "its tests pass, and it is the same, byte for byte, in another folder, zone and umask"
    ):
        build_package()
        if (ROOT / "dist" / accepted.name).read_bytes() != accepted.read_bytes():
            raise Failed(f"dist/{accepted.name} and {accepted} differ")


def make_tree(debian: str) -> Path:
    with step(debian, "tree", "there is a minimal tree"):
        return trees.make(DEBIANS[debian], BOXES)


def walk(debian: str, tree: Path, packages: Sequence[Path]) -> subprocess.Popen[bytes]:
    """A process of its own walks through one Debian."""
    command = [sys.executable, "-B", str(HERE / "walk.py"), debian, str(tree), *map(str, packages)]
    return subprocess.Popen(command)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failed:
        sys.exit(f"acceptance: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
