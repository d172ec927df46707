"""`python -m keiji` is the command."""

from __future__ import annotations

from keiji.cli import main

if __name__ == "__main__":
    main()
