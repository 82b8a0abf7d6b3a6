"""The listening socket of a server: what it does about connections on which no request comes.

uvicorn bounds the time after an answer alone: a connection that never sends anything, or sends its
headers byte by byte, stays open there, until the process can open no more.
"""

import asyncio
import contextlib
import socket
import time

_LOOK_EVERY_SEC = 1
# A body in chunks of one byte costs h11 a quarter of a second for so much, in which others wait.
_MAX_BYTES_AT_A_TIME = 2**16


class Listener(socket.socket):
    """A socket whose `accept` bounds the number of connections, and which ends those that are idle.

    Idle is a connection from its start until the headers of a request are complete, and after each
    answer. asyncio owns the connections: they are ended by a shutdown, of which it hears.

    Args:
      family: `socket.AddressFamily`.
      max_connections: int. For one more, the one that has been idle longest is ended; where none
        is, it is accepted nevertheless.
      max_idle_sec: float.
    """

    def __init__(self, family, max_connections, max_idle_sec):
        super().__init__(family)
        self._max_connections, self._max_idle_sec = max_connections, max_idle_sec
        self._connections = {}  # by the peer's address and port

    def accept(self):
        self._forget_closed()
        idle = [one for one in self._connections.values() if one.idle_since_sec is not None]
        if len(self._connections) >= self._max_connections and idle:
            min(idle, key=lambda one: one.idle_since_sec).end()
            raise BlockingIOError("Try again: its place is free once asyncio has heard of it.")
        accepted, peer = super().accept()
        connection = _Connection(fileno=accepted.detach())
        self._connections[peer[:2]] = connection
        return connection, peer

    @contextlib.contextmanager
    def in_use(self, peer):
        """For the length of the block the connection with (address, port) is not idle."""
        connection = self._connections[peer]
        connection.idle_since_sec = None
        try:
            yield
        finally:
            connection.idle_since_sec = time.monotonic()

    async def end_idle(self):
        """Ends connections that are idle for too long, until it is cancelled."""
        while True:
            await asyncio.sleep(min(_LOOK_EVERY_SEC, self._max_idle_sec))
            self._forget_closed()
            for one in self._connections.values():
                since_sec = one.idle_since_sec
                if since_sec is not None and time.monotonic() - since_sec > self._max_idle_sec:
                    one.end()

    def _forget_closed(self):
        self._connections = {
            peer: one for peer, one in self._connections.items() if one.fileno() != -1
        }


class _Connection(socket.socket):
    """A connection, and since when it is idle, None where it is not."""

    def __init__(self, fileno):
        super().__init__(fileno=fileno)
        self.idle_since_sec = time.monotonic()

    def recv(self, size, flags=0):
        return super().recv(min(size, _MAX_BYTES_AT_A_TIME), flags)

    def end(self):
        with contextlib.suppress(OSError):  # the other side may have ended it
            self.shutdown(socket.SHUT_RDWR)
