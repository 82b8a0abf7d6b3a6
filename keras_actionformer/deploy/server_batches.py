"""The queue in which requests wait for the model, and the one thread that the model runs in."""

import asyncio
import concurrent.futures
import contextlib
import queue
import threading


class BatchQueue:
    """Requests that come while the model is busy share its next call.

    Args:
      answer_all: function from a list of requests to the list of their answers; its calls do not
        overlap and are made in one thread.
      max_requests: int, most requests of a call.
      timeout_sec: float, how long a request that is alone waits for others.

    Attributes:
      is_computing: bool, whether a call is going on.
    """

    def __init__(self, answer_all, max_requests, timeout_sec):
        self._answer_all = answer_all
        self._max_requests, self._timeout_sec = max_requests, timeout_sec
        self.is_computing = False
        self._waiting = asyncio.Queue()  # of (request, future of its answer)
        self._calls = queue.SimpleQueue()  # of (requests, future of their answers), None at the end

    @contextlib.asynccontextmanager
    async def running(self):
        """Answers requests for the length of the block."""
        # A daemon: a call of the model, which nothing can interrupt, is not to delay a stop.
        threading.Thread(target=self._work, name="model", daemon=True).start()
        batching = asyncio.create_task(self._make_batches())
        try:
            yield
        finally:
            batching.cancel()
            self._calls.put(None)

    async def answer(self, request):
        """Returns the answer to a request, or raises what `answer_all` raised."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((request, answer))
        return await answer

    async def _make_batches(self):
        while True:
            await self._answer_batch(await self._next_batch())

    async def _next_batch(self):
        batch = [await self._waiting.get()]
        if self._waiting.empty():
            await asyncio.sleep(self._timeout_sec)
        while len(batch) < self._max_requests and not self._waiting.empty():
            batch.append(self._waiting.get_nowait())
        return batch

    async def _answer_batch(self, batch):
        call = concurrent.futures.Future()
        self._calls.put(([request for request, _ in batch], call))
        try:
            results = await asyncio.wrap_future(call)
        except Exception as error:  # of whatever kind, the next batch can be answered
            results = [error] * len(batch)
        for (_, answer), result in zip(batch, results, strict=True):
            if answer.done():  # cancelled: the server stops
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    def _work(self):
        """What the model's thread does."""
        while (call := self._calls.get()) is not None:
            self._call(*call)
            del call  # its requests are not to stay in memory until others come

    def _call(self, requests, answers):
        self.is_computing = True
        try:
            answers.set_result(self._answer_all(requests))
        except Exception as error:
            answers.set_exception(error)
        finally:
            self.is_computing = False
