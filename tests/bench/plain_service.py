"""plain_service.py: an empty method on the session bus by pydbus; prints a line when it answers."""

from __future__ import annotations

from gi.repository import GLib
from pydbus import SessionBus

NAME = "io.keiji.bench.Plain1"
PATH = "/io/keiji/bench/Plain1"


class Plain:
    """One method that takes nothing, does nothing and answers with nothing."""

    dbus = f"<node><interface name='{NAME}'><method name='Nothing'/></interface></node>"

    def Nothing(self) -> None:
        pass


if __name__ == "__main__":
    bus = SessionBus()
    published = bus.publish(NAME, Plain())
    print("ready", flush=True)
    GLib.MainLoop().run()
