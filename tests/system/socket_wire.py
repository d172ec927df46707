"""The loopback bus as `wire` is the session bus: calls, and errors by their names."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from wire import SOON, UNIT, WireError

from keiji.bus import loopback_client
from keiji.bus.client import Absent
from keiji.errors import BusUnavailable, KeijiError
from keiji.folders import Folders

_NO_REPLY = "org.freedesktop.DBus.Error.NoReply"


class SocketWire:
    """Calls the service of one system folder, and has the manager start it."""

    def __init__(self, home: Path) -> None:
        self.folders = Folders(home.parent / "keiji", home)

    def call(self, method: str, *words: str, timeout: float = SOON) -> tuple[Any, ...]:
        """The answer; raises `WireError`."""
        give_up = time.monotonic() + timeout
        while True:
            try:
                return loopback_client.call(self.folders, method, words, timeout)
            except Absent as absent:
                if time.monotonic() > give_up:
                    raise AssertionError(absent.why) from None
                subprocess.run(["systemctl", "--user", "start", UNIT], check=False)
            except BusUnavailable as problem:
                raise WireError(_NO_REPLY, problem.message) from None
            except KeijiError as problem:
                raise WireError(problem.wire_name, problem.message) from None

    def owner(self) -> str:
        """The process that answers, or empty; starts nothing."""
        asked = ["systemctl", "--user", "show", "-p", "MainPID", "--value", UNIT]
        pid = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        return "" if pid == "0" or not os.path.exists(f"/proc/{pid}") else pid

    def close(self) -> None:
        """Nothing is kept open."""
