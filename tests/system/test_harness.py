"""The private manager that these tests run under is private, and its reboots are reboots."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def test_home_is_not_the_person_s(systemctl):
    assert Path.home() != Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert f"HOME={Path.home()}" in systemctl("show-environment").splitlines()


def test_another_login_is_another_manager_of_the_same_boot(systemctl, restart_manager):
    before = systemctl("show", "--property=UserspaceTimestampMonotonic"), BOOT_ID.read_text()
    restart_manager()
    after = systemctl("show", "--property=UserspaceTimestampMonotonic"), BOOT_ID.read_text()

    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_reboot_has_another_boot_id_and_keeps_the_home(systemctl, restart_manager):
    before = BOOT_ID.read_text()
    kept, lost = Path.home() / "kept", Path(os.environ["XDG_RUNTIME_DIR"], "lost")
    for file in (kept, lost):
        file.touch()
    restart_manager("--new-boot")

    assert BOOT_ID.read_text() != before
    assert kept.exists()
    assert not lost.exists()
    assert systemctl("is-system-running") == "running"


def test_a_power_cut_gives_no_unit_time_to_say_anything(tmp_path, systemctl, restart_manager, wait_for):
    ready, goodbye = tmp_path / "ready", tmp_path / "goodbye"
    script = f"trap 'touch {goodbye}; exit' TERM; touch {ready}; while :; do sleep 0.1; done"
    unit = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user", "keiji-harness.service")
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text(f'[Service]\nExecStart=/bin/sh -c "{script}"\n')
    systemctl("daemon-reload")
    systemctl("start", unit.name)
    wait_for(ready.exists, "the unit")
    restart_manager("--power-cut")
    unit.unlink()

    assert not goodbye.exists()
    assert systemctl("is-active", unit.name) == "inactive"
