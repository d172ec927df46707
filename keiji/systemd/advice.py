"""What on this machine keeps user timers from running, and the remedy for each."""

from __future__ import annotations

import getpass
from pathlib import Path

_LINGER = Path("/var/lib/systemd/linger")


def notes() -> list[str]:
    user = getpass.getuser()
    if (_LINGER / user).exists():
        return []
    return [
        f"lingering is off for {user}: tasks run only while {user} is logged in. "
        "To let them run always, also after a reboot: loginctl enable-linger"
    ]
