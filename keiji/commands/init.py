"""`keiji init`: the two folders, the database, keiji's own units."""

from __future__ import annotations

from keiji import environment, output, settings, traces, workspace
from keiji.folders import Folders
from keiji.host import Host
from keiji.session import check_owner
from keiji.store import open_store
from keiji.store.migrations import LATEST


def init(folders: Folders, host: Host) -> None:
    """Make what is not there yet and say what was made; run twice it changes nothing."""
    check_owner(host)
    host.is_started()  # a manager that doesn't answer says so before anything is made,
    settings.load(folders)  # and so does what is wrong in the settings
    missing = traces.missing([folders.home, folders.workspace, *host.folders_used()])
    made = [] if folders.home.is_dir() else [f"made {folders.home}"]
    for folder in folders.made():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    traces.note(folders, missing)
    made += workspace.make_workspace(folders, settings.default_text(settings.machine_zone()))
    environment.ensure(folders, output.note)
    read, warnings = settings.load(folders)
    new_database = read.uses_sqlite and not folders.database.exists()
    with open_store(read) as store:
        steps = store.migrate()
        if new_database:
            made.append(f"made {folders.database}")
        elif steps:
            done = "made keiji's tables in" if steps == LATEST else "brought up to date:"
            made.append(f"{done} {store.where}")
    made += [f"installed {name}" for name in host.install_system()]
    for warning in [*warnings, *host.advice(), *host.bus_advice()]:
        output.note(warning)
    for name in made:
        output.say(name)
    if not made:
        output.say("everything is there already; nothing changed")
    else:
        output.say(f"keiji is ready: write tasks in {folders.workspace}, then `keiji system start`")
