"""Checks tasks and evaluates their schedules, run by the workspace's interpreter as a process of its own.

It serves many tasks: each line of JSON on stdin has the fields of `Places`, its answer on stdout is
``{"schedule": {…}}`` or ``{"error": "one line"}``. Each ``schedule.py`` runs in a forked child, so that
no task meets what another one imported. Standard library only.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from types import CodeType, CoroutineType, ModuleType, TracebackType

from keiji.errors import InvalidSchedule
from keiji.inspection import Mistake, Places, inspect
from keiji.schedule import Schedule

_EXAMPLE = "Schedule().run().every(10).seconds()"
_LONGEST = 500  # characters of an error; a message is for a person to read
_PATIENCE = 10.0  # seconds that a schedule.py may take


def serve() -> None:
    """Answer requests until stdin ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what a schedule.py prints must not get between the answers
    gc.freeze()  # else the collector copies every page in each child
    while line := sys.stdin.readline():
        os.write(answers, json.dumps(_answer(Places(**json.loads(line)), answers)).encode() + b"\n")


def _answer(places: Places, answers: int) -> dict[str, object]:
    try:
        code = inspect(places)
        said = _in_child(places, code, answers)
        answer: dict[str, object] = json.loads(said)
        return answer
    except Mistake as mistake:
        return {"error": str(mistake)}
    finally:
        for path in [p for p in sys.path_importer_cache if p.startswith((places.task, places.shared))]:
            del sys.path_importer_cache[path]


def _in_child(places: Places, code: CodeType, answers: int) -> bytes:
    """What the child that runs schedule.py answers; raises `Mistake` when there is none."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.close(answers)
        try:
            os.write(writer, json.dumps(_evaluated(places, code)).encode() + b"\n")
        finally:
            os._exit(0)
    os.close(writer)
    name = os.path.join(places.folder, "schedule.py")
    try:
        said = _read_line(reader)
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        raise Mistake(f"{name}: schedule() did not return within {_PATIENCE:g} s") from None
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        status = os.waitpid(child, 0)[1]
    if not said.endswith(b"\n"):
        how = f"signal {status & 127}" if status & 127 else f"status {status >> 8}"
        raise Mistake(f"{name}: it ended the process ({how}) before schedule() returned")
    return said


def _read_line(reader: int) -> bytes:
    """All up to a newline or the end; raises `TimeoutError`.

    Requests come one by one, so stdin can only tell that keiji is gone.
    """
    said = b""
    give_up = time.monotonic() + _PATIENCE
    while not said.endswith(b"\n"):
        ready = select.select([reader, 0], [], [], max(0.0, give_up - time.monotonic()))[0]
        if not ready:
            raise TimeoutError
        if reader not in ready:
            raise SystemExit
        part = os.read(reader, 65536)
        if not part:
            break
        said += part
    return said


# in the child


def _evaluated(places: Places, code: CodeType) -> dict[str, object]:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.path[:0] = [places.task, places.shared]
    sys.argv[:] = [os.path.join(places.task, "schedule.py")]
    os.chdir(places.task)
    try:
        return {"schedule": schedule_of(places, code).to_dict()}
    except Mistake as mistake:
        return {"error": str(mistake)}
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass


def schedule_of(places: Places, code: CodeType) -> Schedule:
    """Execute a schedule.py in this process and return what its schedule() makes; raises `Mistake`."""
    try:
        return _run(places, code)
    except Mistake:
        raise
    except BaseException as error:
        raise Mistake(_told(places, error)) from None


def _run(places: Places, code: CodeType) -> Schedule:
    module = ModuleType("schedule")
    module.__file__ = os.path.join(places.task, "schedule.py")
    sys.modules["schedule"] = module
    exec(code, module.__dict__)
    schedule = getattr(module, "schedule", None)
    name = code.co_filename
    if not callable(schedule):
        raise Mistake(f"{name}: it must define schedule(), which returns a Schedule, such as {_EXAMPLE}")
    made = schedule()
    line = getattr(getattr(schedule, "__code__", None), "co_firstlineno", 1)
    if not isinstance(made, Schedule):
        shown = "nothing" if made is None else f"{made!r:.80}"
        if isinstance(made, CoroutineType):
            made.close()  # else Python complains, too
            shown = "a coroutine: write `def`, not `async def`"
        raise Mistake(
            f"{name}:{line}: schedule() must return a Schedule, such as {_EXAMPLE}; it returned {shown}"
        )
    try:
        made.check()
    except InvalidSchedule as error:
        raise Mistake(f"{name}:{line}: {error.message}") from None
    return made


def _told(places: Places, error: BaseException) -> str:
    """An exception in one line, with the author's file and line that it came from."""
    where = os.path.join(places.folder, "schedule.py")
    own = tuple(f"{folder}/" for folder in places)
    for path, line in _frames(error.__traceback__):
        if path.startswith(own):
            where = f"{places.authors(path)}:{line}"
    if isinstance(error, InvalidSchedule):
        return f"{where}: {error.message}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{places.authors(error.filename)}:{error.lineno or 1}: syntax error: {error.msg}"
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{where}: {name}: {text}"[:_LONGEST] if text else f"{where}: {name}"


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int]]:
    """File and line of each frame, outermost first."""
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


if __name__ == "__main__":
    serve()
