"""The queue in which sequences wait for the model, and the one thread that the model runs in."""

import asyncio
import collections
import concurrent.futures
import contextlib
import queue
import signal
import threading

from absl import logging

_BATCHES_A_TURN = 4  # sorted by length, many short sequences make batches with little padding


class BatchQueue:
    """Requests that come while the model is busy share its next turn.

    Each has one sequence in a turn, and more while there is room: who asks for little does not wait
    for all of what others ask for.

    Args:
      detect: function from a list of `server_json.Instance` to the list of what was found, or of
        exceptions; its calls do not overlap and are made in one thread.
      max_batch_size: int, most sequences of a batch, of which a turn has a few.
      max_steps: int, most steps of a turn; a longer sequence is alone.
      timeout_sec: float, how long a request that is alone waits for others.

    Attributes:
      is_computing: bool, whether a turn is being computed.
      failure: None, or the exception that ended the model's thread, after which SIGTERM is raised.
    """

    def __init__(self, detect, max_batch_size, max_steps, timeout_sec):
        self._detect = detect
        self._max_sequences, self._max_steps = _BATCHES_A_TURN * max_batch_size, max_steps
        self._timeout_sec = timeout_sec
        self.is_computing, self.failure = False, None
        self._waiting = collections.deque()  # of _Job, those with sequences that have no turn yet
        self._has_waiting = asyncio.Event()
        self._turns = queue.SimpleQueue()  # of (instances, future of rows), None at the end

    @contextlib.asynccontextmanager
    async def running(self):
        """Answers requests for the length of the block."""
        # A daemon: a call of the model, which nothing can interrupt, is not to delay a stop.
        threading.Thread(target=self._work, name="model", daemon=True).start()
        turns = asyncio.create_task(self._take_turns())
        try:
            yield
        finally:
            turns.cancel()
            self._turns.put(None)

    async def answer(self, instances):
        """What is found in the sequences of a request.

        Once this is cancelled, those that wait leave the queue.

        Args:
          instances: list of `server_json.Instance`.

        Returns:
          List with what `detect` gave for each.

        Raises:
          RuntimeError: the model's thread has ended.
        """
        if self.failure is not None:
            raise RuntimeError("The model's thread has ended.")
        job = _Job(instances)
        self._waiting.append(job)
        self._has_waiting.set()
        try:
            return await job.rows
        finally:
            if job in self._waiting:
                self._waiting.remove(job)

    async def _take_turns(self):
        while self.failure is None:
            await self._compute(await self._next_turn())  # no name, which would keep it in memory

    async def _next_turn(self):
        """List of (job, instance)."""
        while not self._waiting:
            self._has_waiting.clear()
            await self._has_waiting.wait()
        if len(self._waiting) == 1:
            await asyncio.sleep(self._timeout_sec)
        turn, num_steps = [], 0
        while self._waiting and len(turn) < self._max_sequences:
            job = self._waiting[0]
            instance = job.instances[job.num_begun]
            num_steps += len(instance.feats)
            if turn and num_steps > self._max_steps:
                break
            turn.append((job, instance))
            job.num_begun += 1
            self._waiting.popleft()
            if job.num_begun < len(job.instances):
                self._waiting.append(job)
        return turn

    async def _compute(self, turn):
        if not turn:  # who had waited is gone
            return
        rows = concurrent.futures.Future()
        self._turns.put(([instance for _, instance in turn], rows))
        try:
            found = await asyncio.wrap_future(rows)
        except Exception as error:  # of whatever kind, the next turn can be computed
            found = [error] * len(turn)
        for (job, _), row in zip(turn, found, strict=True):
            job.add(row)
        if self.failure is not None:
            for job in self._waiting:
                job.fail(RuntimeError("The model's thread has ended."))
            signal.raise_signal(signal.SIGTERM)

    def _work(self):
        """What the model's thread does."""
        while self.failure is None and (turn := self._turns.get()) is not None:
            self._call(*turn)
            del turn  # its sequences are not to stay in memory until others come

    def _call(self, instances, rows):
        self.is_computing = True
        try:
            found = self._detect(instances)
        except Exception as error:
            rows.set_exception(error)
        except BaseException as error:
            # SystemExit, say, which would end this thread without a word.
            logging.error("The model's thread ended (%s: %s).", type(error).__name__, error)
            self.failure = error
            rows.set_exception(RuntimeError("The model's thread has ended."))
        else:
            rows.set_result(found)
        finally:
            self.is_computing = False


class _Job:
    """A request: its sequences, how many of them had their turn, and the future of their rows."""

    def __init__(self, instances):
        self.instances, self.num_begun = instances, 0
        self.rows = asyncio.get_running_loop().create_future()
        self._found = []  # in their order, as they have their turns one after the other

    def add(self, row):
        self._found.append(row)
        if len(self._found) == len(self.instances) and not self.rows.done():  # or cancelled
            self.rows.set_result(self._found)

    def fail(self, error):
        if not self.rows.done():
            self.rows.set_exception(error)
