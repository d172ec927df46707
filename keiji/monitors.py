"""Folders watched by the kernel: which of their files come, change and go, told in GLib's main loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from keiji.bus.glib import Gio, GLib

Seen = Callable[[str, bool], None]


class Monitor:
    """Calls `seen(name, is_there)` for each file of a folder that comes, is written or goes.

    Starts at once; the folder may be missing, or vanish and come back: what is in it then is seen as new.
    Temporary files, whose names begin with a dot, are passed over. Made and used in the main loop's thread.
    """

    def __init__(self, folder: Path, seen: Seen) -> None:
        self.folder = folder
        self._seen = seen
        self._monitor: Any = None
        try:
            file = Gio.File.new_for_path(str(folder))
            self._monitor = file.monitor_directory(Gio.FileMonitorFlags.WATCH_MOVES, None)
        except GLib.Error:
            return  # a file system that tells nothing: whoever looks still sees all
        self._monitor.connect("changed", self._changed)

    def stop(self) -> None:
        if self._monitor:
            self._monitor.cancel()

    def _changed(self, _: Any, file: Any, other: Any, event: Any) -> None:
        kinds = Gio.FileMonitorEvent
        if event in (kinds.ATTRIBUTE_CHANGED, kinds.PRE_UNMOUNT):
            return
        path = file.get_path()
        if path == str(self.folder):
            with suppress(FileNotFoundError):
                for name in os.listdir(self.folder):
                    self._tell(name, True)
            return
        self._tell(file.get_basename(), event not in (kinds.DELETED, kinds.MOVED_OUT, kinds.RENAMED))
        if event == kinds.RENAMED:  # from one name to another in this folder
            self._tell(other.get_basename(), True)

    def _tell(self, name: str, is_there: bool) -> None:
        if not name.startswith("."):
            self._seen(name, is_there)
