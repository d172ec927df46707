"""keiji's end of the process that checks tasks under the workspace's interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from types import TracebackType

from keiji.environment import Environment
from keiji.errors import EnvironmentFailed, InvalidTask
from keiji.inspection import Places
from keiji.schedule import Schedule


class Evaluator:
    """One process for all tasks of a command, started when the first task needs it."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def evaluate(self, places: Places) -> Schedule:
        """Check and byte-compile a task that was copied, and return its schedule.

        Raises `InvalidTask` with the author's file and line, `EnvironmentFailed`.
        """
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(places._asdict()).encode() + b"\n")
            process.stdin.flush()
            said = process.stdout.readline()
            answer = json.loads(said)
        except (OSError, ValueError):
            self.close()
            raise EnvironmentFailed(
                f"{self._environment.python} ended while it checked {places.folder}: "
                "`keiji task build` tries again; if that doesn't help, remove the folder "
                f"{self._environment.folder}"
            ) from None
        except BaseException:
            self.close()  # an answer that was not read would be taken for the next task's
            raise
        if "error" in answer:
            raise InvalidTask(answer["error"])
        return Schedule.from_dict(answer["schedule"])

    def close(self) -> None:
        """End the process, and with it a schedule() that hangs."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            with process:
                pass
        except BrokenPipeError:
            pass  # half a request was left

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            # A session of its own: Ctrl-C reaches keiji alone, which then ends the whole group.
            self._process = subprocess.Popen(
                [self._environment.python, "-I", "-m", "keiji.evaluate"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        return self._process
