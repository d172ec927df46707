"""Words of remedies: lines that can be typed as they are, by this person and on this machine."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path


def word(path: Path | str) -> str:
    """The path as a word of a shell's line."""
    return shlex.quote(str(path))


def as_root(line: str) -> str:
    """The line, by sudo where this is not root."""
    return line if os.geteuid() == 0 else f"sudo {line}"


def person() -> str:
    """Who this is; LOGNAME may be another's, after `su`."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def linger() -> str:
    """What turns lingering on. By root: without polkit, as in a minimal system, nobody else may."""
    return as_root(f"loginctl enable-linger {word(person())}")
