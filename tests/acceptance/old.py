"""A Debian that is too old for keiji, whose systemd is older than that of any system it runs on."""

from __future__ import annotations

import shutil
from pathlib import Path

from person import BUS
from scene import Scene, expect

GOLDEN = Path(__file__).resolve().parents[1] / "unit" / "golden"
NEWER = "Unknown key name 'OnSuccess' in section 'Unit', ignoring."  # of systemd 249, as Ubuntu 22.04 has it


def boot(scene: Scene) -> None:
    """the machine boots, and a home gets units as they are agreed"""
    units = scene.box.root / "home/ada/.config/systemd/user"
    shutil.copytree(GOLDEN, units)
    (units / f"{BUS}.service.d").mkdir()
    shutil.move(units / f"{BUS}.conf", units / f"{BUS}.service.d/keiji.conf")
    shutil.move(units / f"{BUS}.shipped.service", units / f"{BUS}.service")
    for python in ("python3", "python3.11"):  # systemd looks whether the command is there
        (scene.box.root / "usr/bin" / python).symlink_to("/bin/true")
    scene.box.up()


def verify(scene: Scene) -> None:
    """its systemd understands the units, but for a key that came with 249"""
    said = scene.ada.verified().splitlines()
    expect([line for line in said if NEWER not in line] == [] != said, "\n".join(said) or "it said nothing")


STEPS = (boot, verify)
