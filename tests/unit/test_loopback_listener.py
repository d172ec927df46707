"""Where the listening socket comes from: systemd, launchd, or a bind of our own; never but on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keiji.bus import loopback_listener
from keiji.errors import BusUnavailable

Handed = Callable[..., "subprocess.CompletedProcess[str]"]
SHOW = """
import os, socket, sys
from keiji.bus import loopback_listener
from keiji.errors import BusUnavailable
try:
    found = loopback_listener.listener(os.environ, 0, sys.argv[1])
except BusUnavailable as problem:
    sys.exit(str(problem))
print(found.getsockname()[0], found.getsockname()[1], found.get_inheritable(), "LISTEN_FDS" in os.environ)
"""
BECOME = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
# Hands over the descriptors that FDS names, or fails with the error RC; its caller must free the array.
LAUNCHD = """
#include <stdlib.h>
#include <string.h>
int launch_activate_socket(const char *name, int **fds, size_t *count) {
    const char *said = getenv("FDS");
    if (getenv("RC")) return atoi(getenv("RC"));
    if (strcmp(name, "Bus")) return 2;
    *fds = malloc(8 * sizeof(int));
    for (*count = 0; said && *said; said++)
        if (*said != ',') (*fds)[(*count)++] = *said - '0';
    return 0;
}
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A C library that exports what launchd's does."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("launchd")
    (folder / "launchd.c").write_text(LAUNCHD)
    command = [compiler, "-shared", "-fPIC", "-o", "launchd.so", "launchd.c"]
    subprocess.run(command, cwd=folder, check=True)
    return str(folder / "launchd.so")


@pytest.fixture
def handed() -> Handed:
    """`handed(sockets, environ, library)`: what a process finds that gets these as descriptors 3, 4, …"""

    def run(
        sockets: list[socket.socket], library: str = "/nowhere", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        def place() -> None:
            kept = [os.dup(it.fileno()) for it in sockets]
            kept = [os.dup2(number, 100 + index) for index, number in enumerate(kept)]
            for index, number in enumerate(kept):
                os.dup2(number, 3 + index)

        words = [sys.executable, "-c", SHOW, library]
        if environ.get("LISTEN_PID") == "own":  # known only once it is there
            words = [sys.executable, "-c", BECOME, *words]
        return subprocess.run(
            words,
            env={**os.environ, **environ},
            close_fds=False,
            preexec_fn=place,
            capture_output=True,
            text=True,
        )

    return run


def listening(host: str = "127.0.0.1", family: int = socket.AF_INET) -> socket.socket:
    return socket.create_server((host, 0), family=family)


def test_systemd_s_socket_is_used_and_not_passed_on(
    handed: Handed,
) -> None:
    with listening() as found:
        done = handed([found], LISTEN_FDS="1", LISTEN_PID="own")

        assert done.stdout == f"127.0.0.1 {found.getsockname()[1]} False False\n", done.stderr


def test_systemd_itself_hands_it_over(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if not activate:
        pytest.skip("needs systemd-socket-activate")
    with listening() as found:
        port = found.getsockname()[1]
    process = subprocess.Popen(
        [activate, f"--listen=127.0.0.1:{port}", sys.executable, "-c", SHOW, "/nowhere"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(loopback_listener.__file__).parents[2])},
    )
    assert process.stderr
    assert "Listening on" in process.stderr.readline()
    with socket.create_connection(("127.0.0.1", port)):
        said, complaints = process.communicate(timeout=30)

    assert said == f"127.0.0.1 {port} False False\n", complaints


def test_a_socket_for_another_process_is_left_alone(
    handed: Handed,
) -> None:
    with listening() as found:
        done = handed([found], LISTEN_FDS="1", LISTEN_PID="1")

        assert done.stdout.startswith("127.0.0.1 ")
        assert f" {found.getsockname()[1]} " not in done.stdout


def not_ours() -> list[tuple[str, Callable[[], socket.socket]]]:
    def unix() -> socket.socket:
        return socket.socket(socket.AF_UNIX)

    def datagrams() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def deaf() -> socket.socket:
        found = socket.socket()
        found.bind(("127.0.0.1", 0))
        return found

    return [
        ("listens at 127.0.0.1 only, and not at 0.0.0.0", lambda: listening("0.0.0.0")),
        ("listens at 127.0.0.1 only, and not at 127.0.0.2", lambda: listening("127.0.0.2")),
        ("is no TCP socket", lambda: listening("::1", socket.AF_INET6)),
        ("is no TCP socket", unix),
        ("is no TCP socket", datagrams),
        ("does not listen", deaf),
    ]


@pytest.mark.parametrize(("why", "make"), not_ours())
@pytest.mark.parametrize("by", ["systemd", "launchd"])
def test_what_is_no_listener_on_127_0_0_1_alone_is_refused(
    handed: Handed,
    library: str,
    by: str,
    why: str,
    make: Callable[[], socket.socket],
) -> None:
    with make() as found:
        if by == "systemd":
            done = handed([found], LISTEN_FDS="1", LISTEN_PID="own")
        else:
            done = handed([found], library, FDS="3")

    assert why in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("count", ["0", "2", "x"])
def test_systemd_must_hand_over_exactly_one(handed: Handed, count: str) -> None:
    with listening() as one, listening() as two:
        done = handed([one, two], LISTEN_FDS=count, LISTEN_PID="own")

    assert f"{count} sockets are handed over to the bus, and it has use for one" in done.stderr


def test_launchd_s_socket_is_used_and_not_passed_on(handed: Handed, library: str) -> None:
    with listening() as found:
        done = handed([found], library, FDS="3")

        assert done.stdout == f"127.0.0.1 {found.getsockname()[1]} False False\n", done.stderr


def test_launchd_must_not_hand_over_more_than_one(handed: Handed, library: str) -> None:
    with listening() as one, listening() as two:
        done = handed([one, two], library, FDS="3,4")

    assert "sockets over to the bus, and it has use for one" in done.stderr


def test_where_launchd_found_the_port_taken_another_is_bound(handed: Handed, library: str) -> None:
    done = handed([], library, FDS="")

    assert done.stdout.startswith("127.0.0.1 "), done.stderr


@pytest.mark.parametrize("failure", ["2", "3"])
def test_outside_of_launchd_a_port_is_bound(handed: Handed, library: str, failure: str) -> None:
    done = handed([], library, RC=failure)

    assert done.stdout.startswith("127.0.0.1 "), done.stderr


def test_a_socket_that_launchd_has_given_away_is_told(handed: Handed, library: str) -> None:
    done = handed([], library, RC="114")

    assert "launchd hands no socket over to the bus: " in done.stderr


def test_a_port_is_bound_on_127_0_0_1_and_had_again_at_once() -> None:
    with loopback_listener.listener({}, library="/nowhere") as first:
        assert first.getsockname()[0] == "127.0.0.1"
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            first.accept()[0].close()  # its end is what the system remembers for a while
    with loopback_listener.listener({}, port, "/nowhere") as second:
        assert second.getsockname()[1] == port


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_has_is_left_for_a_free_one(host: str) -> None:
    with listening(host) as squatter:
        taken = squatter.getsockname()[1]

        with loopback_listener.bound(taken) as found:
            assert found.getsockname()[1] != taken


def test_a_port_that_nobody_may_bind_is_left_for_a_free_one(monkeypatch: pytest.MonkeyPatch) -> None:
    real = loopback_listener._bound

    def bind(port: int) -> socket.socket:
        if port:
            raise PermissionError(13, "Permission denied")
        return real(0)

    monkeypatch.setattr(loopback_listener, "_bound", bind)

    loopback_listener.bound(80).close()


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_manager_is_told_where_it_asks_for_it(tmp_path: Path, is_abstract: bool) -> None:
    name = f"keiji-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if is_abstract else name)

        loopback_listener.tell_manager({}, "READY=1")
        loopback_listener.tell_manager({"NOTIFY_SOCKET": f"@{name}" if is_abstract else name}, "READY=1")

        assert manager.recv(100) == b"READY=1"


def test_a_number_of_descriptors_that_are_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback_listener, "_FIRST", 250)

    with pytest.raises(BusUnavailable, match="no socket is handed over to the bus: "):
        loopback_listener.from_systemd({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
