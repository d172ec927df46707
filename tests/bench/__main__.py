"""Measures keiji beside its floor, each pair in one run, and prints the ratios: `make bench`.

    make bench              everything, some twelve minutes
    make bench ONLY=cpu     one of them; several with commas between

Both sides of a pair take turns, and medians are compared, since a machine is never quiet. A figure over
its goal is no failure of the bench: the exit status is 1 only when something could not be measured.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import cli
import directive
import firing
import idle
import many
import records
from row import Row, table

MEASUREMENTS: dict[str, Callable[[], Row | Sequence[Row]]] = {
    "cpu": firing.cpu,
    "entry": firing.entry,
    "drift": firing.drift,
    "start": many.start,
    "one-more": many.one_more,
    "all-new": many.all_new,
    "unchanged": many.unchanged,
    "get": cli.get,
    "help": cli.help_,
    "directive": directive.rows,
    "deliver": records.deliver,
    "history": records.long_history,
    "idle": idle.processes,
}


def main(arguments: Sequence[str]) -> int:
    """Measures what is named, or everything; returns the exit status."""
    wanted = [name for argument in arguments for name in argument.split(",") if name] or list(MEASUREMENTS)
    unknown = [name for name in wanted if name not in MEASUREMENTS]
    if unknown:
        print(f"bench: no measurement {unknown[0]!r}: there are {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    if "KEIJI_TEST_MANAGER" not in os.environ:
        print("bench: needs a private user manager: `make bench`", file=sys.stderr)
        return 2
    rows: list[Row] = []
    failed = False
    for name in wanted:
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        try:
            measured = MEASUREMENTS[name]()
            rows += [measured] if isinstance(measured, Row) else measured
        except Exception as error:
            failed = True
            print(f"bench: {name} was not measured: {type(error).__name__}: {error}", file=sys.stderr)
    print(table(rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
