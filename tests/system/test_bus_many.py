"""Many directives at once: each is answered, and in the end record and manager say the same."""

from __future__ import annotations

import json
import random
import threading

from wire import Wire, WireError

CLIENTS = 20
EACH = 50
TASKS = 12
QUICK = "def function():\n    print('hello')\n"
LONG = "import time\n\n\ndef function():\n    time.sleep(600)\n"
YEARLY = 'Schedule().cron("0 0 1 1 *")'
# What may be refused, and with what; anything else is a fault.
REFUSALS = {
    "io.keiji.Error.NoSuchTask": {"Run", "Stop", "Restart", "Enable", "Disable", "Resolve", "GetTask"},
    "io.keiji.Error.TaskBusy": {"Run"},
}
VERBS = ("Run", "Stop", "Stop", "Restart", "Enable", "Disable", "Enable", "Disable", "Resolve", "GetTask")


def test_a_thousand_mixed_directives_from_twenty_clients_are_all_answered(keiji, systemctl, wait_for) -> None:
    keiji("init")
    slugs = [f"task-{number}" for number in range(TASKS)]
    for number, slug in enumerate(slugs):
        keiji.write_task(slug, LONG if number % 2 else QUICK, YEARLY)
    keiji("task", "build", "--all")
    keiji("system", "start")
    answers: list[str] = []
    faults: list[str] = []

    def client(number: int) -> None:
        wire, choice = Wire(), random.Random(number)
        for _ in range(EACH):
            method, slug = choice.choice(VERBS), choice.choice([*slugs, "nobody"])
            try:
                wire.call(method, slug, timeout=120)
            except WireError as problem:
                is_known = slug == "nobody" or problem.name.endswith("Busy")
                if not is_known or method not in REFUSALS.get(problem.name, ()):
                    faults.append(f"{method} {slug}: {problem}")
            answers.append(method)
        wire.close()

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()

    assert faults == []
    assert len(answers) == CLIENTS * EACH
    wire = Wire()
    for slug in slugs:
        wire.call("Stop", slug)
    wait_for(lambda: not list((keiji.home / "run" / "running").iterdir()), "the last runs to end")
    records = {record["name"]: record for record in json.loads(keiji("task", "get", "--json").stdout)}
    for slug in slugs:
        is_enabled = systemctl("is-enabled", f"keiji-{slug}.timer") == "enabled"
        is_active = systemctl("is-active", f"keiji-{slug}.timer") == "active"
        assert records[slug]["is_disabled"] is not is_enabled
        assert records[slug]["is_running"] is is_active is is_enabled
        assert records[slug]["is_queued"] is records[slug]["is_error"] is False
    assert not list((keiji.home / "run" / "stale").iterdir())
    assert not list((keiji.home / "run" / "stopping").iterdir())
