"""Has an interpreter on Linux look like one on macOS, as far as modules and functions go.

What CPython leaves out there is taken away, and what can't be installed there can't be imported. Nothing
else is a Mac's: this finds what would not import or has no such function, and no more.
A plugin of pytest's, too: ``python -m pytest -p bare_mac``.
"""

from __future__ import annotations

import fcntl
import os
import posix
import re
import resource
import select
import signal
import socket
import sys
import sysconfig
import time
import urllib.request  # which would want a module of macOS's own later  # noqa: F401
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# CPython's documentation of each names the systems that have it: ``Availability``.
ABSENT: dict[ModuleType, str] = {
    os: r"fdatasync|memfd_create|pidfd_open|PIDFD_.*|posix_fa.*|POSIX_FADV.*|sched_(?!yield|get_prio).*"
    r"|SCHED_.*|eventfd.*|EFD_.*|timerfd.*|TFD_.*|splice|SPLICE_.*|copy_file_range|getrandom|GRND_.*|setns|unshare"
    r"|CLONE_.*|O_PATH|O_TMPFILE|O_DIRECT|O_NOATIME|O_LARGEFILE|O_RSYNC|[gs]etres[ug]id|pipe2|waitid|P_PIDFD|RWF_.*"
    r"|(get|set|list|remove)xattr|XATTR_.*|ST_(?!RDONLY|NOSUID).*|MFD_.*",
    socket: r"SO_PEERCRED|SO_PASSCRED|SO_DOMAIN|SO_PROTOCOL|SCM_CREDENTIALS|SOCK_CLOEXEC|SOCK_NONBLOCK"
    r"|AF_NETLINK|AF_PACKET|AF_VSOCK|AF_ALG|MSG_NOSIGNAL|MSG_CMSG_CLOEXEC|TCP_USER_TIMEOUT",
    select: r"epoll|EPOLL.*|POLLRDHUP",
    signal: r"pidfd_send_signal|sigwaitinfo|sigtimedwait|SIGRT.*|SIGSTKFLT|SIGPWR|SIGPOLL|SIGCLD",
    time: r"CLOCK_BOOTTIME|CLOCK_TAI|pthread_getcpuclockid",
    fcntl: r"F_OFD_.*|F_.*_SEALS|F_SEAL.*|F_[GS]ETPIPE_SZ|F_NOTIFY|DN_.*|F_[GS]ETLEASE|F_[GS]ETSIG",
    resource: r"prlimit|RLIMIT_(SIGPENDING|MSGQUEUE|RTPRIO|NICE|RTTIME)",
}
NOT_THERE = ("pydbus", "gi", "systemd", "_gi")


class _Missing:
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.split(".")[0] in NOT_THERE:
            raise ModuleNotFoundError(f"No module named {name!r} on macOS", name=name)
        return None


def become() -> None:
    sysconfig.get_config_vars()  # which are read once, from a file that is named after the platform
    sys.platform = "darwin"
    sys.meta_path.insert(0, _Missing())
    for name in [name for name in sys.modules if name.split(".")[0] in NOT_THERE]:
        del sys.modules[name]
    for module, pattern in ABSENT.items():
        for place in (module, *([posix] if module is os else [])):
            for name in [name for name in vars(place) if re.fullmatch(pattern, name)]:
                delattr(place, name)


def pytest_configure() -> None:
    become()
