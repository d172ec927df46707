"""Under sudo: keiji works for one person and needs no root, so it refuses, or becomes that person again."""

from __future__ import annotations

import os
import pwd
from collections.abc import MutableMapping

from keiji.errors import UsageError


def is_in_force(environ: MutableMapping[str, str]) -> bool:
    """Whether this is a person's call through sudo; a real root is a person like any other."""
    return os.geteuid() == 0 and environ.get("SUDO_UID", "0") != "0"


def leave(environ: MutableMapping[str, str]) -> None:
    """Become the person behind sudo, with their home and user manager; there is no way back to root."""
    try:
        person = pwd.getpwuid(int(environ["SUDO_UID"]))
    except (KeyError, ValueError):
        raise UsageError(f"SUDO_UID={environ['SUDO_UID']} is nobody here") from None
    os.initgroups(person.pw_name, person.pw_gid)
    os.setgid(person.pw_gid)
    os.setuid(person.pw_uid)
    for name in [name for name in environ if name.startswith(("SUDO_", "XDG_"))]:
        del environ[name]
    environ.update(HOME=person.pw_dir, USER=person.pw_name, LOGNAME=person.pw_name)
    environ["XDG_RUNTIME_DIR"] = f"/run/user/{person.pw_uid}"
    environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path=/run/user/{person.pw_uid}/bus"
    if not os.access(os.curdir, os.X_OK):
        os.chdir("/")
