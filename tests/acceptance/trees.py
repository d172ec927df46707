"""The Debian trees that boxes are booted from: made once a suite, kept, and copied for each run."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from report import Failed

# What a minimal Debian with logins has. Everything else has to come with keiji's package.
BASE = ("systemd-sysv", "dbus", "libpam-systemd")
ADDED = {"bullseye": ("dbus-user-session",)}  # where the package is not installed
MIRROR = "http://deb.debian.org/debian"
ARCHIVES = "var/cache/apt/archives"
_APT = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]


def make(suite: str, folder: Path) -> Path:
    """The suite's tree, in a folder that is named for what it is made of."""
    packages = (*BASE, *ADDED.get(suite, ()))
    digest = hashlib.sha256(repr(packages).encode()).hexdigest()[:8]
    tree, making = folder / f"{suite}-{digest}", folder / f"{suite}.making"
    if not tree.exists():
        shutil.rmtree(making, ignore_errors=True)
        including = f"--include={','.join(packages)}"
        command = ["debootstrap", "--variant=minbase", including, suite, str(making), _mirror()]
        call(command, folder / f"{suite}.log")
        call(["chroot", str(making), "apt-get", "clean"], folder / f"{suite}.log")
        making.rename(tree)
    return tree


def fetch(tree: Path, package: Path) -> Path:
    """What the package depends on, as files, in a folder that is named for its dependencies."""
    depends = subprocess.check_output(["dpkg-deb", "--field", package, "Depends"])
    archives = tree.with_name(f"{tree.name}-{hashlib.sha256(depends).hexdigest()[:8]}.archives")
    if not archives.exists():
        shutil.copy("/etc/resolv.conf", tree / "etc/resolv.conf")
        shutil.copy(package, tree / "keiji.deb")
        call(["chroot", str(tree), *_APT, "update"], tree.with_suffix(".log"))  # it may be kept for months
        words = ["install", "--yes", "--download-only", "--no-install-recommends", "/keiji.deb"]
        call(["chroot", str(tree), *_APT, *words], tree.with_suffix(".log"))
        (tree / "keiji.deb").unlink()
        (tree / ARCHIVES).rename(archives)
    return archives


def copy(tree: Path, to: Path, archives: Path | None) -> None:
    """A tree to boot, which has these packages in its cache, and two people."""
    subprocess.run(["cp", "--archive", "--reflink=auto", tree, to], check=True)
    if archives:
        shutil.copytree(archives, to / ARCHIVES, dirs_exist_ok=True)
    # A box that is thrown away needs no file on the disk at once.
    (to / "etc/dpkg/dpkg.cfg.d/unsafe-io").write_text("force-unsafe-io\n")
    for person in ("ada", "bob"):
        subprocess.run(["chroot", to, "useradd", "--create-home", "--shell=/bin/bash", person], check=True)


def call(command: list[str], log: Path) -> None:
    """Run it with its output in a log; raises `Failed` with the log's end."""
    with log.open("ab") as file:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False)
    if done.returncode != 0:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise Failed(f"{command[0]}: status {done.returncode}\n{end}")


def _mirror() -> str:
    """Where this machine's apt gets Debian from."""
    for file in Path("/etc/apt/sources.list.d").glob("debian.sources"):
        for line in file.read_text().splitlines():
            if line.startswith("URIs:"):
                return line.split()[1]
    return MIRROR
