"""The entry point: whatever goes wrong becomes one or two lines and an exit status here.

At the top it imports nothing that takes time, so that Ctrl-C is silent from the first moment on.
"""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False  # `typing` takes time
if TYPE_CHECKING:
    import click

_INTERRUPTED = 130
_READER_LEFT = 141  # what a shell makes of SIGPIPE


def main(arguments: list[str] | None = None) -> None:
    """Do what the words say (None: those of this process), then exit with its status."""
    try:
        status = _status(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        if "keiji.output" in sys.modules:
            sys.modules["keiji.output"].abandon()
        sys.exit(_INTERRUPTED)
    if arguments is None:
        # All is written and closed. Python would take its modules apart one by one before it ends, and
        # that lasts as long as its start.
        os._exit(status)
    sys.exit(status)


def _status(words: list[str]) -> int:
    """Carry out a command line and tell what went wrong with it."""
    from keiji import output

    output.prepare()
    try:
        status = _carried_out(words)
        output.flush()
        return status
    except BrokenPipeError:
        output.abandon()
        return _READER_LEFT
    except Exception as problem:
        return _tell(problem, "--debug" in words)


def _carried_out(words: list[str]) -> int:
    import click

    from keiji import grammar, spelling

    if "_KEIJI_COMPLETE" in os.environ:  # a shell asks how a line may go on
        grammar.cli.main(words, prog_name="keiji")
    words = spelling.translate(words)
    if "SUDO_UID" in os.environ:
        _as_person(words)
    # Not `cli.main`: it would make a status 1 of a pipe whose reader has left.
    try:
        with grammar.cli.make_context("keiji", list(words)) as context:
            grammar.cli.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except (click.Abort, EOFError):
        raise KeyboardInterrupt from None
    return 0


def _as_person(words: list[str]) -> None:
    # Under sudo the units and folders would be root's; uninstall alone acts for the person behind it.
    from keiji import sudo
    from keiji.errors import KeijiError

    if not sudo.is_in_force(os.environ):
        return
    if [word for word in words if not word.startswith("-")][:2] != ["system", "uninstall"]:
        raise KeijiError("keiji works for one person and needs no root: run it without sudo")
    sudo.leave(os.environ)


def _tell(problem: Exception, debug: bool) -> int:
    """Print an error in one or two lines; its exit status. With `debug` raise it."""
    import click

    from keiji import output
    from keiji.errors import KeijiError

    if isinstance(problem, click.ClickException):
        return _tell_usage(problem)
    if debug:
        raise problem
    status = 1
    if isinstance(problem, KeijiError):
        message, status = problem.message, problem.exit_status
    elif isinstance(problem, OSError):
        message = f"{problem.filename or 'the system'}: {problem.strerror or problem}"
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            message += ": free some space on that disk"
    else:
        message = f"unexpected {type(problem).__name__}: {problem} (see it all with keiji --debug)"
    output.abandon()
    output.error(message)
    return status


def _tell_usage(problem: click.ClickException) -> int:
    import re

    import click

    from keiji import output

    if isinstance(problem, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        problem.show()
        return problem.exit_code
    text = " ".join(problem.format_message().split()).rstrip(".")
    text = re.sub(r"'(-[\w-]+|[A-Z]+)'", r"\1", text[:1].lower() + text[1:])
    context = getattr(problem, "ctx", None)
    group, _, path = (context.command_path if context else "keiji").partition(" ")
    output.error(f"{path}: {text}; see {group} {path} --help" if path else f"{text}; see {group} --help")
    return problem.exit_code


if __name__ == "__main__":
    main()
