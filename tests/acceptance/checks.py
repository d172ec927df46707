"""`make check-deb`: what Debian's own tools say about the package: lintian, piuparts and autopkgtest.

It needs root, or asks for it by sudo, takes what it needs from apt, and takes some minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import trees
from alone import BOXES, ROOT, begin, build_package
from box import Box
from report import Failed, step

TOOLS = {
    "debootstrap": "debootstrap",
    "lintian": "lintian",
    "nsenter": "util-linux",
    "piuparts": "piuparts",
    "systemd-nspawn": "systemd-container",
}
APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "--yes"]
LONG = 1200.0  # seconds


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    return begin(Path(__file__).resolve(), arguments, TOOLS, check)


def check() -> int:
    """Raises `Failed` with what the first tool says that is not content."""
    with step("", "deb", "the package is built"):
        build_package()
    (package,) = (ROOT / "dist").glob("keiji_*_all.deb")
    with step("", "lintian", "it finds nothing, pedantic as it is"):
        said = call(
            [
                "lintian",
                "--allow-root",
                "--display-info",
                "--display-experimental",
                "--pedantic",
                str(package),
            ]
        )
        if "keiji" in said:
            raise Failed(said)
    tree = trees.make("bookworm", BOXES)
    with step("12", "piuparts", "it goes without a trace"):
        call(
            [
                "piuparts",
                f"--existing-chroot={tree}",
                "--distribution=bookworm",
                "--no-eatmydata",
                str(package),
            ]
        )
    for debian, suite in (("12", "bookworm"), ("13", "trixie")):
        with (
            step(debian, "autopkgtest", "the installed package passes its tests"),
            furnished(suite, package) as box,
        ):
            box.run("autopkgtest", "/srv/package.deb", "/srv/sources/", "--", "null", timeout=LONG)
    return 0


@contextmanager
def furnished(suite: str, package: Path) -> Iterator[Box]:
    """A machine that has the package, its sources, and what its tests need."""
    root = BOXES / f"run-checks-{suite}"
    shutil.rmtree(root, ignore_errors=True)
    box = Box(root, f"checks-{suite}")
    try:
        trees.copy(trees.make(suite, BOXES), root, None)
        shutil.copy("/etc/resolv.conf", root / "etc")
        shutil.copy(package, root / "srv/package.deb")
        for name in ("debian", "tests", "packaging", "units", "launchd", "keiji"):
            shutil.copytree(ROOT / name, root / "srv/sources" / name)
        for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
            shutil.copy(ROOT / name, root / "srv/sources")
        needed = {"autopkgtest", "dpkg-dev", *needed_by_tests()}
        call(["chroot", str(root), *APT, "update"])
        call(["chroot", str(root), *APT, "install", "--no-install-recommends", "/srv/package.deb", *needed])
        call(["chroot", str(root), *APT, "remove", "keiji"])
        box.up()
        yield box
    finally:
        box.cut()
        shutil.rmtree(root, ignore_errors=True)


def needed_by_tests() -> list[str]:
    control = (ROOT / "debian/tests/control").read_text()
    lines = re.findall(r"^Depends: @,? *(.*)$", control, re.M)
    return [package for line in lines for package in re.split(r",\s*", line) if package]


def call(command: Sequence[str]) -> str:
    """What it printed; raises `Failed` with that when it fails."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"{command[0]}: status {done.returncode}\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failed as failed:
        sys.exit(f"check-deb: {failed}")
    except KeyboardInterrupt:
        sys.exit(130)
