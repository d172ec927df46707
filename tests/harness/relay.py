"""A loopback port that passes connections on to another, and can cut or silence them half-way."""

from __future__ import annotations

import select
import socket
import struct
import threading
from contextlib import suppress

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once and tell the peer by RST


class Relay:
    """Passes on what comes to `port`; used as a context.

    `cut_after`: bytes from the server after which the connection is reset (None: never), once.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.cut_after: int | None = None
        self.accepted = 0
        self._is_silent = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection that there is."""
        while self._pairs:
            for end in self._pairs.pop():
                _reset(end)

    def silence(self) -> None:
        """From now on pass on nothing and close nothing, as a network does whose cable is out."""
        self._is_silent = True

    def hear(self) -> None:
        """Pass on what comes to connections that are made from now on."""
        self._is_silent = False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _reset(client)
                continue
            self._pairs.append((client, server))
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for source in ready:
                    data = source.recv(65536)
                    if self._is_silent:
                        return  # both stay open
                    if source is server:
                        data = self._counted(data)
                    if not data:
                        _reset(client)
                        _reset(server)
                        return
                    (server if source is client else client).sendall(data)

    def _counted(self, data: bytes) -> bytes:
        """What may be passed on before the cut."""
        if self.cut_after is None:
            return data
        some = data[: self.cut_after]
        self.cut_after -= len(some)
        if self.cut_after == 0:
            self.cut_after = None
            return b""
        return some


def _reset(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
