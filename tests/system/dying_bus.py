"""dying_bus.py FILE TRANSPORT: the bus service, which kills itself before the N-th step of a directive.

N stands in FILE, which goes with the directive that it meets. A step is whatever changes something: a file,
the manager, the database; the last one is the reply.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keiji import files
from keiji.dispatcher import Dispatcher
from keiji.store import Store
from keiji.systemd.manager import SystemdHost

STEPS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (files, ("write", "link")),
    (Path, ("unlink", "rename", "mkdir")),
    (os, ("rename",)),
    (shutil, ("rmtree",)),
    (
        SystemdHost,
        ("set_enabled", "reload", "arm", "disarm", "forget_failure", "forget", "start_run", "stop_run"),
    ),
    (Store, ("delete_task",)),
)
left = threading.local()  # in the thread that carries a doomed directive out: steps to go


def main() -> None:
    order, transport = Path(sys.argv.pop(1)), sys.argv.pop(1)
    for owner, names in STEPS:
        for name in names:
            setattr(owner, name, counted(getattr(owner, name)))
    Dispatcher.send = doomed(Dispatcher.send, order)  # type: ignore[method-assign]
    importlib.import_module(f"keiji.bus.{transport}").main()


def counted(step: Callable[..., Any]) -> Callable[..., Any]:
    def taken(*words: Any, **more: Any) -> Any:
        count_down()
        return step(*words, **more)

    return taken


def doomed(send: Callable[..., Any], order: Path) -> Callable[..., Any]:
    def sent(*words: Any) -> Any:
        if not order.exists():
            return send(*words)
        number = int(order.read_text())
        order.unlink()
        left.steps = number
        reply = send(*words)
        count_down()
        left.steps = 0
        return reply

    return sent


def count_down() -> None:
    steps = getattr(left, "steps", 0)
    left.steps = steps - 1
    if steps == 1:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
