"""`make acceptance [ARGS=12]`: keiji's package on whole machines, booted with systemd as PID 1.

Debian 12 and 13 are taken if none is named. ARGS=11 shows only what systemd 247 says about the units.
Prints a line for each step of each Debian; exit status 0 when all did what they should. It needs root, or
asks for it by sudo, and leaves nothing behind but the packages and, in `.boxes/`, the trees that it boots
copies of.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import trees
from box import sweep_cgroups
from report import Failed, step

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BOXES = ROOT / ".boxes"
BUILT = ROOT / "build"
DEBIANS = {"11": "bullseye", "12": "bookworm", "13": "trixie"}
USUAL = ("12", "13")
NEXT = "999.0.0"
TOOLS = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
PATIENCE = 900  # seconds for one Debian
PR_SET_PDEATHSIG = 1
NAMESPACES = [
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
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if arguments[:1] == ["--inside"]:
        return accept(arguments[1:] or USUAL)
    if unknown := set(arguments) - {*DEBIANS}:
        raise Failed(f"no such Debian here: {', '.join(unknown)}")
    if os.getuid() != 0:
        if not shutil.which("sudo"):
            raise Failed("needs root to boot machines: run it as root, or install sudo")
        os.execvp("sudo", ["sudo", "--", sys.executable, "-B", str(HERE), *arguments])
    install_tools()
    with alone_here():
        return inside_namespaces(arguments)


@contextmanager
def alone_here() -> Iterator[None]:
    """No other run works in this checkout; what one has left that was killed is removed, and so is ours."""
    BOXES.mkdir(exist_ok=True)
    with (BOXES / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed("another acceptance run goes on in this checkout") from None
        sweep()
        try:
            yield
        finally:
            sweep()


def inside_namespaces(arguments: Sequence[str]) -> int:
    """Do it in namespaces that end with this process, and with them all boxes and mounts."""
    libc = ctypes.CDLL(None)
    inside = subprocess.Popen(
        [*NAMESPACES, sys.executable, "-B", str(HERE), "--inside", *arguments],
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    try:
        return inside.wait()
    finally:
        inside.kill()
        inside.wait()


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


def build_package(*words: str, umask: int = 0o022, environment: Mapping[str, str] | None = None) -> None:
    """`packaging/deb` for who asked, so that what it makes is theirs; raises `Failed` with its last words."""
    settings = ["env", *(f"{name}={value}" for name, value in (environment or {}).items())]
    person = ["sudo", "-u", f"#{os.environ['SUDO_UID']}", "--"] if "SUDO_UID" in os.environ else []
    done = subprocess.run(
        [*person, *settings, str(ROOT / "packaging" / "deb"), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=umask,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(done.stdout)


def make_tree(debian: str) -> Path:
    with step(debian, "tree", "there is a minimal tree"):
        return trees.make(DEBIANS[debian], BOXES)


def walk(debian: str, tree: Path, packages: Sequence[Path]) -> subprocess.Popen[bytes]:
    """A process of its own walks through one Debian."""
    command = [sys.executable, "-B", str(HERE / "walk.py"), debian, str(tree), *map(str, packages)]
    return subprocess.Popen(command)


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
    """Remove the machines; the trees that they are copies of stay."""
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
