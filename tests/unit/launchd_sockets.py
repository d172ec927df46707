"""How the stand-in for launchd listens for a job, and hands the listener over when it starts the job.

keiji asks a function of macOS's C library for it. Here a library is loaded before all others that stands in
for that one; where there is no C compiler the job gets its socket as systemd hands one over.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The errors are launchd's: 3 for no job of it, 2 for a name that the plist doesn't know, 37 (114 on Linux)
# for what was given away already.
STAND_IN = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int launch_activate_socket(const char *name, int **fds, size_t *count) {
    static int given;
    const char *said = getenv("FAKE_LAUNCHD_SOCKET");
    if (!said) return ESRCH;
    const char *number = strchr(said, '=');
    if (!number || strlen(name) != (size_t)(number - said)) return ENOENT;
    if (strncmp(name, said, number - said)) return ENOENT;
    if (given++) return EALREADY;
    *fds = malloc(sizeof(int));
    (*fds)[0] = atoi(number + 1);
    *count = 1;
    return 0;
}

void *dlopen(const char *path, int flags) {
    static void *(*real)(const char *, int);
    if (!real) real = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return real(path && !strcmp(path, "/usr/lib/libSystem.B.dylib") ? NULL : path, flags);
}
"""


@functools.cache
def library() -> str:
    """The stand-in's library; empty where none can be made."""
    compiler = shutil.which("cc", path="/usr/bin:/usr/local/bin") or shutil.which("gcc")
    if not compiler or os.uname().sysname != "Linux":
        return ""
    folder = Path(tempfile.mkdtemp(prefix="fake"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "launchd.c").write_text(STAND_IN)
    words = [compiler, "-shared", "-fPIC", "-o", "launchd.so", "launchd.c", "-ldl"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=False)
    return str(folder / "launchd.so") if done.returncode == 0 else ""


def listener(plist: dict[str, Any]) -> socket.socket | None:
    """What the plist has launchd listen on; None too where another has that port, as launchd doesn't tell."""
    for wanted in plist.get("Sockets", {}).values():
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((wanted["SockNodeName"], int(wanted["SockServiceName"])))
            found.listen(128)
        except OSError:
            found.close()
            return None
        found.setblocking(False)
        return found
    return None


@contextmanager
def handed(
    found: socket.socket | None, words: list[str], environ: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """What `Popen` is told of the program, so that it gets the socket; `OSError` where it can't be run."""
    if found is None:
        yield {"args": words, "env": environ}
        return
    number = os.dup(found.fileno())
    try:
        if library():
            environ = {**environ, "LD_PRELOAD": library(), "FAKE_LAUNCHD_SOCKET": f"Bus={number}"}
        elif os.access(words[0], os.X_OK):
            script = f'exec 3<&{number}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
            words = ["/bin/sh", "-c", script, "sh", *words]
        yield {"args": words, "env": environ, "pass_fds": [number]}
    finally:
        os.close(number)
