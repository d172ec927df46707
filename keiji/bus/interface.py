"""What the service looks like on the session bus: its names, its interface, its errors.

Known to the service and to its client; it imports nothing that takes time.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape  # xml.sax brings half of urllib along

from keiji.errors import KeijiError

NAME = "io.keiji.Bus1"
PATH = "/io/keiji/Bus1"

# member → its arguments (direction, name, type) and the sentence that introspection shows
_TASK = ("in", "task", "s")
_ANSWER = (_TASK, ("out", "message", "s"), ("out", "run", "s"))
METHODS: dict[str, tuple[tuple[tuple[str, str, str], ...], str]] = {
    "Run": (_ANSWER, "Begins one run of the task now, and answers with its id as soon as it has begun."),
    "Stop": (_ANSWER, "Ends the task's run in progress; its schedule goes on."),
    "Restart": (_ANSWER, "Ends the task's run in progress and arms its timer anew."),
    "Enable": (_ANSWER, "Lets a disabled task run again."),
    "Disable": (_ANSWER, "Has the task not run again until it is enabled, also after a reboot."),
    "Resolve": (_ANSWER, "Lets a task run again that is held after a failure."),
    "Delete": (_ANSWER, "Removes the task, its executable and its runs; its source in the workspace stays."),
    "ListTasks": ((("out", "tasks", "aa{sv}"),), "Answers with the records of all tasks, by name."),
    "GetTask": ((_TASK, ("out", "record", "a{sv}")), "Answers with the record of one task."),
    "Ping": (
        (("out", "version", "s"), ("out", "home", "s")),
        "Answers with keiji's version and the system folder that it works on.",
    ),
    "Subscribe": (
        (),
        "Keeps the service up until the caller unsubscribes or leaves the bus; needed anew when the "
        "service's name has changed its owner.",
    ),
    "Unsubscribe": ((), "Ends what Subscribe began."),
    "Shutdown": ((), "Has the service leave as soon as it has finished what is in flight."),
}
# property → its type, whether a signal tells its changes, and its sentence
PROPERTIES = {
    "Version": ("s", "const", "The version of keiji that answers."),
    "Tasks": (
        "as",
        "true",
        "The tasks that are installed; each is the name that methods take and signals carry.",
    ),
}
SIGNALS: dict[str, tuple[tuple[tuple[str, str], ...], str]] = {
    "TaskChanged": (
        (("task", "s"), ("state", "s")),
        "A task is in another state, or built anew; the state is created, built, armed, queued, running, "
        "disabled, held or deleted.",
    ),
    "RunFinished": (
        (("task", "s"), ("run", "s"), ("result", "s")),
        "A run is over: succeeded, failed, timed-out, killed, stopped or skipped.",
    ),
}

_DOC = "org.gtk.GDBus.DocString"
_EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_UNKNOWN_ERROR = "io.keiji.Error.Unexpected"


def xml() -> str:
    """The interface for introspection, a sentence for each member."""
    members = [
        *(
            _member("method", name, said, [_argument(*it) for it in args])
            for name, (args, said) in METHODS.items()
        ),
        *(
            _member("property", name, said, [_note(_EMITS, emits)], type=kind, access="read")
            for name, (kind, emits, said) in PROPERTIES.items()
        ),
        *(
            _member("signal", name, said, [_argument("", *it) for it in args])
            for name, (args, said) in SIGNALS.items()
        ),
    ]
    return f"<node><interface name={_quoted(NAME)}>{''.join(members)}</interface></node>"


def error_name(problem: BaseException) -> str:
    """The name under which an error travels."""
    return problem.wire_name if isinstance(problem, KeijiError) else _UNKNOWN_ERROR


def error_from(name: str, message: str) -> KeijiError:
    """The error that travelled under `name`, with the exit status that it has on the command line."""
    for kind in _kinds(KeijiError):
        if kind().wire_name == name:
            return kind(message)
    return KeijiError(message)


def _kinds(kind: type[KeijiError]) -> Iterator[type[KeijiError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


def _member(tag: str, name: str, sentence: str, inside: list[str], **attributes: str) -> str:
    words = "".join(f" {key}={_quoted(value)}" for key, value in {"name": name, **attributes}.items())
    return f"<{tag}{words}>{_note(_DOC, sentence)}{''.join(inside)}</{tag}>"


def _note(name: str, value: str) -> str:
    return f"<annotation name={_quoted(name)} value={_quoted(value)}/>"


def _argument(direction: str, name: str, kind: str) -> str:
    towards = f" direction={_quoted(direction)}" if direction else ""
    return f"<arg name={_quoted(name)} type={_quoted(kind)}{towards}/>"


def _quoted(text: str) -> str:
    return f'"{escape(text)}"'
