"""What may be said on the command line: click alone at the top, the bodies import what they need.

`keiji --help` and the start of every command are paid by each call, so nothing heavy is imported here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from keiji import __version__

if TYPE_CHECKING:
    from keiji.session import Session

_F = TypeVar("_F", bound=Callable[..., Any])
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_EDITOR_FLAGS = ("code", "vim", "nano")


@click.group(context_settings=_HELP)
@click.version_option(__version__, prog_name="keiji")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
def cli(debug: bool) -> None:
    """Python functions on a schedule, run by the operating system itself."""


@cli.command()
def init() -> None:
    """Make the workspace, the system folder, the database and keiji's units."""
    from keiji import platforms
    from keiji.commands.init import init as run
    from keiji.folders import Folders

    folders = Folders.of(os.environ)
    run(folders, platforms.host(folders))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Find what makes tasks silently not run, and say the remedy.

    It only looks. The exit status is 1 when there is an error: tasks don't run, their output or their
    records are lost, or commands are refused. Warnings (it works, and may go wrong) and notes leave it 0.
    """
    from keiji import platforms
    from keiji.commands.doctor import doctor as run
    from keiji.folders import Folders

    folders = Folders.of(os.environ)
    sys.exit(run(folders, platforms.host(folders), as_json))


@cli.group()
def task() -> None:
    """Write, build, watch and direct tasks."""


@cli.group()
def system() -> None:
    """Start, stop and look after all of keiji."""


def _editors(command: _F) -> _F:
    for name in reversed(_EDITOR_FLAGS):
        command = click.option(f"--{name}", "editor", flag_value=name, help=f"Open it in {name}.")(command)
    return command


def _parts(command: _F) -> _F:
    command = click.option("--scheduler", "part", flag_value="scheduler", help="Only the scheduler.")(command)
    return click.option("--bus", "part", flag_value="bus", help="Only the bus.")(command)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_name = click.argument("name")


@task.command()
@_name
@click.option("--desc", required=True, help="What the task is for.")
@click.option("--force", is_flag=True, help="Replace an existing folder.")
def create(name: str, desc: str, force: bool) -> None:
    """Scaffold the task's folder in the workspace."""
    from keiji.commands.create import create as run

    run(_session().folders, name, desc, force)


@task.command()
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Build every task of the workspace.")
@click.option("--restart", is_flag=True, help="End the run in progress and arm the timer anew.")
def build(name: str | None, everything: bool, restart: bool) -> None:
    """Make the executable, save the record, install the units and arm the timer."""
    from keiji.commands.build import build as run

    if (name is None) == (not everything):
        raise click.UsageError("name one task, or --all")
    sys.exit(run(_session(), name, restart))


@task.command()
@click.argument("name", required=False)
@_as_json
def get(name: str | None, as_json: bool) -> None:
    """Print the record of a task, or of all."""
    from keiji.commands.looking import get as run

    run(_session(), name, as_json)


@task.command("list")
@click.option("--watch", is_flag=True, help="Go on with what changes, until Ctrl-C.")
@click.option("--all-hosts", is_flag=True, help="Of every machine that shares the database.")
@_as_json
def list_(watch: bool, all_hosts: bool, as_json: bool) -> None:
    """Print a line for each task."""
    if watch and all_hosts:
        raise click.UsageError("--watch shows this machine's tasks alone, without --all-hosts")
    if all_hosts:
        from keiji.commands.everyones import list_everyones as run
    elif watch:
        from keiji.commands.watching import watch as run
    else:
        from keiji.commands.listing import list_tasks as run
    run(_session(), as_json)


@task.command()
@_name
@click.option("-n", default=20, show_default=True, type=click.IntRange(1), help="How many runs.")
@_as_json
def history(name: str, n: int, as_json: bool) -> None:
    """Print the last runs of a task."""
    from keiji.commands.looking import history as run

    run(_session(), name, n, as_json)


@task.command("next")
@_name
@click.option("-n", default=5, show_default=True, type=click.IntRange(1, 10000), help="How many times.")
@_as_json
def next_(name: str, n: int, as_json: bool) -> None:
    """Print the next times of a task, with their zone."""
    from keiji.commands.looking import next_times

    next_times(_session(), name, n, as_json)


@task.command()
@_name
@click.option("-n", default=100, show_default=True, type=click.IntRange(0), help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--run", metavar="ID", help="Only this run.")
@_editors
def logs(name: str, n: int, follow: bool, run: str | None, editor: str | None) -> None:
    """Print the last lines of a task's log."""
    from keiji.commands.logs import task_logs

    task_logs(_session(), name, n, follow, run, editor)


@task.command()
@_name
def run(name: str) -> None:
    """Run the task once now; print what it prints, exit with its status."""
    from keiji.commands.run import run_now

    sys.exit(run_now(_session(), name))


def _directive(verb: str, text: str) -> None:
    """A command that sends one directive."""

    def command(name: str) -> None:
        from keiji.commands.directive import send
        from keiji.directives import Verb

        send(_session(must_stop=verb in ("stop", "disable")), Verb(verb), name)

    command.__doc__ = text
    task.command(verb)(_name(command))


_directive("stop", "End the run in progress; the schedule goes on.")
_directive("restart", "End the run in progress and arm the timer anew.")
_directive("disable", "Run it no more until it is enabled, also after a reboot.")
_directive("enable", "Let a disabled task run again.")
_directive("resolve", "Let a task run again that is held after a failure.")
_directive("delete", "Remove all of it but its source in the workspace.")


@system.command()
@_parts
def start(part: str | None) -> None:
    """Arm every task, now and at each boot."""
    from keiji.commands import system as commands

    commands.start(_session(), part)


@system.command()
@_parts
def stop(part: str | None) -> None:
    """Stop the timers; runs in progress finish."""
    from keiji.commands import system as commands

    commands.stop(_session(must_stop=True), part)


@system.command()
@_parts
def restart(part: str | None) -> None:
    """Stop, then start."""
    from keiji.commands import system as commands

    commands.restart(_session(), part)


@system.command()
@_parts
def status(part: str | None) -> None:
    """Print which services are online."""
    from keiji.commands import system as commands

    commands.status(_session(), part)


@system.command("logs")
@_parts
@click.option("-n", default=100, show_default=True, type=click.IntRange(0), help="How many lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@_editors
def system_logs_(part: str | None, n: int, follow: bool, editor: str | None) -> None:
    """Print the log of the bus or of the scheduler."""
    from keiji.commands.logs import system_logs

    if part is None:
        raise click.UsageError("whose log? Name --bus or --scheduler")
    system_logs(_session(), part, n, follow, editor)


@system.command()
@click.option("--cc", is_flag=True, help="Make the workspace's environment anew.")
def update(cc: bool) -> None:
    """After an upgrade of keiji: migrate the database, render every unit anew."""
    from keiji.commands.update import update as run

    sys.exit(run(_session(), cc))


@system.command()
@click.option("--keep-workspace", is_flag=True, help="Leave the folder that you wrote.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def uninstall(keep_workspace: bool, yes: bool) -> None:
    """Stop all and remove every trace."""
    from keiji.commands.uninstall import uninstall as run

    run(_session(must_stop=True), keep_workspace, yes)


def _session(must_stop: bool = False) -> Session:
    from keiji import session

    return session.load(must_stop)
