"""follower.py: follows keiji as the bus does, and prints what it would tell, a JSON line each.

In a process of its own, because the connection to the session bus ends the process when the bus ends.
"""

from __future__ import annotations

import json
import os
import time

from gi.repository import GLib

from keiji import platforms, settings
from keiji.bus.changes import Changes
from keiji.bus.following import Following
from keiji.folders import Folders
from keiji.run import Run
from keiji.store import open_store
from keiji.systemd.signals import UnitSignals


def main() -> None:
    folders = Folders.of(os.environ)
    changes = Changes(folders, platforms.host(folders))
    dirty: set[str] = set()

    def find_run(run: str) -> Run | None:
        with open_store(settings.load(folders)[0]) as store:
            return store.run_of_id(run)

    def changed(slug: str) -> None:
        if not dirty:
            GLib.idle_add(tell)
        dirty.add(slug)

    def tell() -> bool:
        slugs = [*dirty]
        dirty.clear()
        for slug, state in changes.tell(slugs).items():
            say(task=slug, state=state)
        return False

    def finished(slug: str, run: str, result: str) -> None:
        say(task=slug, run=run, result=result)

    following = Following(folders, UnitSignals(), changed, finished, find_run)  # kept: else it is collected
    following.start()
    changes.learn(lambda: dirty)
    say(ready=True)
    GLib.MainLoop().run()


def say(**fields: object) -> None:
    print(json.dumps({"at": time.time(), **fields}), flush=True)


if __name__ == "__main__":
    main()
