"""Reading the bodies of requests, with limits on each, on all of them together and in time."""

import asyncio
import contextlib
import time

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

_MAX_BODY_SEC = 60
# What comes slower than this is given up where its place or its memory is needed for others.
_SLOW_BYTES_PER_SEC = 100_000
_GRACE_SEC = 1


class Bodies:
    """The bodies that come, and those that are in hand.

    Args:
      max_bytes: int, most bytes of a body.
      max_bytes_together: int, most of all together, each from its first byte until its request is
        answered.
      max_coming: int, most bodies that are read at a time.
    """

    def __init__(self, max_bytes, max_bytes_together, max_coming):
        self._max_bytes, self._max_bytes_together = max_bytes, max_bytes_together
        self._max_coming = max_coming
        self._coming = set()  # of _Body
        self._num_bytes = 0

    @contextlib.contextmanager
    def one(self):
        """Yields a body to be read, whose bytes count until the block ends."""
        body = _Body()
        try:
            yield body
        finally:
            self._num_bytes -= body.num_bytes

    async def read(self, body, request):
        """Reads a body.

        Args:
          body: what `one` yielded.
          request: Starlette's `Request`.

        Returns:
          bytearray.

        Raises:
          HTTPException: it is too large, too slow or not whole, or there is no room for it.
        """
        told = request.headers
        encoding = told.get("content-encoding", "identity")
        if encoding != "identity":
            raise HTTPException(415, f"The body is encoded by {encoding!r}; send plain JSON.")
        # In chunks, of which tiny ones cost a lot of time.
        if "transfer-encoding" in told or "content-length" not in told:
            sentence = "Tell the length of the body (Content-Length); it cannot come in chunks."
            raise HTTPException(411, sentence, {"Connection": "close"})
        if int(told["content-length"]) > self._max_bytes:
            raise HTTPException(
                413,
                f"The body must have at most {self._max_bytes} bytes; send fewer sequences at a "
                "time.",
            )
        if len(self._coming) >= self._max_coming and not self._give_up_slowest():
            raise busy(f"reads {len(self._coming)} requests")
        content = bytearray()
        try:
            async with asyncio.timeout(_MAX_BODY_SEC) as body.time_limit:
                self._coming.add(body)
                async for chunk in request.stream():
                    self._make_room(len(chunk))
                    if body not in self._coming:  # it was the slowest itself
                        raise TimeoutError
                    self._num_bytes += len(chunk)
                    body.num_bytes += len(chunk)
                    content += chunk
        except ClientDisconnect:
            raise HTTPException(400, "The body ended early.") from None
        except TimeoutError:
            raise HTTPException(
                408,
                f"Of the body {len(content)} bytes came in {body.age_sec():.0f} s: it may take "
                f"{_MAX_BODY_SEC} s, and where others need its place {_SLOW_BYTES_PER_SEC} bytes "
                "must come in a second.",
                {"Connection": "close"},
            ) from None
        finally:
            self._coming.discard(body)
        return content

    def _make_room(self, num_bytes):
        while self._num_bytes + num_bytes > self._max_bytes_together:
            if not self._give_up_slowest():
                raise busy(f"holds {self._num_bytes / 1e6:.0f} MB of requests")

    def _give_up_slowest(self):
        """Ends the reading of the body that is most behind; returns False where none is."""
        slowest = max(self._coming, key=_Body.lag_sec, default=None)
        if slowest is None or slowest.lag_sec() < _GRACE_SEC:
            return False
        self._coming.discard(slowest)
        self._num_bytes -= slowest.num_bytes
        slowest.num_bytes = 0
        if not slowest.time_limit.expired():
            slowest.time_limit.reschedule(asyncio.get_running_loop().time())
        return True


class _Body:
    def __init__(self):
        self._began_sec = time.monotonic()
        self.num_bytes = 0
        self.time_limit = None  # `asyncio.Timeout`, while it is read

    def age_sec(self):
        return time.monotonic() - self._began_sec

    def lag_sec(self):
        """How much later it is than one that comes with `_SLOW_BYTES_PER_SEC` would be."""
        return self.age_sec() - self.num_bytes / _SLOW_BYTES_PER_SEC


def busy(what):
    """The refusal of what there is no room for now: "The server is busy: it `what` ..."."""
    return HTTPException(
        503, f"The server is busy: it {what}; try again later.", {"Retry-After": "1"}
    )
