"""What asks a program to end: Ctrl-C, SIGTERM of a cluster, SIGHUP of a terminal that is closed."""

import contextlib
import signal
import time

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last
# A shell, a wrapper and a cluster may each pass the same signal on.
_ONE_SIGNAL_SEC = 1.0


class Stopped(KeyboardInterrupt):
    """A signal came; as Ctrl-C does, it passes what catches errors.

    Args:
      signum: int.
    """

    def __init__(self, signum):
        super().__init__()
        self.signal = signal.Signals(signum)


class StopSignals:
    """Within the block the first signal raises `Stopped`, and a later one ends the process at once.

    What is ignored, as `nohup` has it for SIGHUP, stays so.
    """

    def __init__(self):
        self._came = None  # (number of the first signal, seconds of a clock)
        self._is_deferred = False

    def __enter__(self):
        signums = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        self._before = {
            signum: signal.signal(signum, self._handle)
            for signum in signums
            if signal.getsignal(signum) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *_):
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @contextlib.contextmanager
    def deferred(self):
        """Within the block nothing is raised but by the function that it yields, and at its end."""
        self._is_deferred = True
        try:
            yield self._raise_if_any
        finally:
            self._is_deferred = False
        self._raise_if_any()

    def _handle(self, signum, frame):
        now = time.monotonic()
        if self._came is not None and now - self._came[1] > _ONE_SIGNAL_SEC:
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self._came = self._came or (signum, now)
        if not self._is_deferred:
            self._raise_if_any()

    def _raise_if_any(self):
        if self._came is not None:
            raise Stopped(self._came[0])
