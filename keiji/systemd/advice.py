"""What on this machine keeps user timers from running, and the remedy for each."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

_JOURNAL = Path("/run/systemd/journal/socket")
_LINGER = Path("/var/lib/systemd/linger")


def notes() -> list[str]:
    """One note for each thing that is amiss."""
    found = []
    user = pwd.getpwuid(os.getuid()).pw_name  # LOGNAME may be another's, after `su`
    if not (_LINGER / user).exists():
        found.append(
            f"lingering is off for {user}: tasks run only while {user} is logged in. "
            "To let them run always, also after a reboot: loginctl enable-linger"
        )
    if not _JOURNAL.exists():
        found.append("no journal runs on this machine, so what tasks print is lost: start systemd-journald")
    return found
