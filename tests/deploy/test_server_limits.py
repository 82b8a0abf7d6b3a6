"""The parts of a server that bound it: connections, bodies, turns of the model, who is answered."""

import asyncio
import contextlib
import functools
import signal
import socket
import threading
import time

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("msgspec")

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from keras_actionformer.deploy import server_bodies
from keras_actionformer.deploy.server_access import Access
from keras_actionformer.deploy.server_batches import BatchQueue
from keras_actionformer.deploy.server_bodies import Bodies
from keras_actionformer.deploy.server_json import Instance
from keras_actionformer.deploy.server_listener import Listener


def instances(*lengths):
    return [Instance(np.zeros((length, 1), np.float32), 0.0, 0.0) for length in lengths]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


# === Turns of the model ===


class Model:
    """Finds the length of each sequence, once it is let; keeps the lengths of its calls."""

    def __init__(self):
        self.turns, self.go_on = [], threading.Semaphore(0)

    def detect(self, instances):
        assert self.go_on.acquire(timeout=60)
        self.turns.append([len(instance.feats) for instance in instances])
        return self.turns[-1]


async def asked(queue, *requests):
    """Tasks of several requests, of which the first is being computed."""
    tasks = []
    for lengths in requests:
        tasks.append(asyncio.create_task(queue.answer(instances(*lengths))))
        while not queue.is_computing:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    return tasks


def test_requests_take_turns():
    """Who asks for little does not wait for all that others ask for."""
    model = Model()

    async def serve():
        queue = BatchQueue(model.detect, max_batch_size=1, max_steps=10, timeout_sec=0)
        async with queue.running():
            tasks = await asked(queue, [7], [4] * 6, [3, 1])
            model.go_on.release(20)
            return await asyncio.gather(*tasks)

    assert run(serve()) == [[7], [4] * 6, [3, 1]]
    # At most 10 steps and 4 sequences, of those who wait in turn.
    assert model.turns == [[7], [4, 3], [4, 1, 4], [4, 4], [4]]


def test_who_is_gone_leaves_the_queue():
    model = Model()

    async def serve():
        queue = BatchQueue(model.detect, max_batch_size=1, max_steps=10, timeout_sec=0)
        async with queue.running():
            tasks = await asked(queue, [7, 6], [5, 5], [4])
            tasks[0].cancel()
            tasks[1].cancel()
            model.go_on.release(20)
            return await tasks[2]

    assert run(serve()) == [4]
    assert model.turns == [[7], [4]]


def test_the_end_of_the_models_thread_is_told(caplog):
    """All who wait are answered, and SIGTERM ends the server, which then fails."""
    stopped = []
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))

    def detect(instances):
        raise SystemExit("no more")

    async def serve():
        queue = BatchQueue(detect, max_batch_size=1, max_steps=10, timeout_sec=0)
        async with queue.running():
            for lengths in ([3, 8], [1]):
                with pytest.raises(RuntimeError, match="The model's thread has ended"):
                    await queue.answer(instances(*lengths))
        return queue.failure

    try:
        assert isinstance(run(serve()), SystemExit)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped and "The model's thread ended (SystemExit: no more)." in caplog.text


# === Bodies ===


class Request:
    """As much of Starlette's as is read: each chunk comes after some seconds."""

    def __init__(self, *chunks, wait_sec=0.0, **headers):
        self._chunks, self._wait_sec = chunks, wait_sec
        length = str(sum(map(len, chunks)))
        self.headers = {"content-length": length, **headers}

    async def stream(self):
        for chunk in self._chunks:
            yield chunk
            await asyncio.sleep(self._wait_sec)


async def read(bodies, request):
    """The body, or the status and the sentence that it is refused with."""
    with bodies.one() as body:
        try:
            return bytes(await bodies.read(body, request))
        except HTTPException as error:
            return error.status_code, error.detail


def test_bodies_together_are_bounded(monkeypatch):
    monkeypatch.setattr(server_bodies, "_GRACE_SEC", 0.2)

    async def serve():
        bodies = Bodies(max_bytes=10, max_bytes_together=15, max_coming=9)
        with bodies.one() as first:  # in hand until the end of the block
            await bodies.read(first, Request(b"12345678"))
            refused = await read(bodies, Request(b"12345678"))
            slow = asyncio.create_task(read(bodies, Request(b"1234", b"5", wait_sec=30)))
            await asyncio.sleep(0.5)
            taken = await read(bodies, Request(b"1234", b"5"))
            given_up = await slow
        return refused, taken, given_up, await read(bodies, Request(b"0123456789"))

    refused, taken, given_up, after = run(serve())
    assert refused[0] == 503 and "holds 0 MB of requests; try again later" in refused[1]
    assert given_up[0] == 408 and given_up[1].startswith("Of the body 4 bytes came in ")
    assert (taken, after) == (b"12345", b"0123456789")


def test_only_slow_bodies_give_way():
    async def serve():
        bodies = Bodies(max_bytes=10, max_bytes_together=99, max_coming=1)
        other = asyncio.create_task(read(bodies, Request(b"1", b"2", wait_sec=0.5)))
        await asyncio.sleep(0)
        return await read(bodies, Request(b"3")), await other

    refused, other = run(serve())
    assert refused[0] == 503 and "The server is busy: it reads 1 requests" in refused[1]
    assert other == b"12"


def test_bodies_have_a_time_limit(monkeypatch):
    monkeypatch.setattr(server_bodies, "_MAX_BODY_SEC", 0.1)
    bodies = Bodies(max_bytes=10, max_bytes_together=99, max_coming=1)
    assert run(read(bodies, Request(b"1", b"2", wait_sec=30)))[0] == 408


# === Connections ===


@contextlib.asynccontextmanager
async def listening(max_connections, max_idle_sec):
    """A server of asyncio's that answers each line by itself."""

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                with listener.in_use(writer.get_extra_info("peername")):
                    await asyncio.sleep(0.5)
                    writer.write(line)
        writer.close()

    with Listener(socket.AF_INET, max_connections, max_idle_sec) as listener:
        listener.bind(("127.0.0.1", 0))
        server = await asyncio.start_server(answer, sock=listener)
        ending = asyncio.create_task(listener.end_idle())
        async with server:
            yield functools.partial(asyncio.open_connection, *listener.getsockname())
        ending.cancel()


def test_idle_connections_are_ended():
    async def serve():
        async with listening(max_connections=9, max_idle_sec=0.2) as connect:
            silent, _silent_writer = await connect()
            asking, writer = await connect()
            writer.write(b"hello\n")  # takes longer than a connection may be idle
            return await silent.read(), await asking.readline(), await asking.read()

    began = time.monotonic()
    assert run(serve()) == (b"", b"hello\n", b"")
    assert time.monotonic() - began < 30


def test_the_connection_that_is_idle_longest_gives_way():
    async def serve():
        async with listening(max_connections=3, max_idle_sec=60) as connect:
            busy, writer = await connect()
            writer.write(b"hello\n")
            silent = [await connect() for _ in range(10)]
            ended = [reader.read() for reader, _ in silent[:-3]]
            assert await asyncio.gather(*ended) == [b""] * 7
            silent[-1][1].write(b"world\n")
            return await busy.readline(), await silent[-1][0].readline()

    assert run(serve()) == (b"hello\n", b"world\n")


# === Who is answered ===


def ask(app, method="GET", **headers):
    """The status of an ASGI application's answer, and its headers."""
    names = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"type": "http", "method": method, "path": "/", "headers": names}
    sent = []

    async def send(message):
        sent.append(message)

    run(app(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


def test_names_and_pages_that_are_told():
    hosts, origins = ["Detector", "api.example.org"], ["https://example.org"]
    app = Access(PlainTextResponse("ok"), PlainTextResponse, hosts, origins)
    page = {"origin": "https://example.org", "sec_fetch_site": "cross-site"}
    for host in ("detector:8501", "API.example.org"):
        status, told = ask(app, host=host, **page)
        assert (status, told[b"access-control-allow-origin"]) == (200, b"*")
    preflight = {"access_control_request_method": "POST", **page}
    preflight["access_control_request_headers"] = "content-type"
    assert ask(app, "OPTIONS", host="detector", **preflight)[0] == 200
    assert ask(app, host="example.org", **page)[0] == 403
    assert ask(app, host="detector", origin="https://example.com")[0] == 403


def test_all_names_and_pages():
    app = Access(PlainTextResponse("ok"), PlainTextResponse, ["*"], ["*"])
    assert ask(app, host="example.org", origin="https://example.com")[0] == 200
