"""Serving an exported detector over HTTP where there is no TensorFlow Serving, by litserve.

    client -> HTTP process: limits, JSON to arrays -> queue -> model's process: batches, model

Paths and JSON are those of TensorFlow Serving (`serving_protocol`). Of this library nothing that
loads Keras is used, and TensorFlow is loaded in the model's process alone.
"""

import asyncio
import contextlib
import errno
import logging
import multiprocessing
import os
import re
import signal
import socket
import sys
import threading
import time
from typing import Annotated, NamedTuple

import fastapi
import litserve
import starlette.exceptions
import starlette.requests
from litserve.loops import BatchedLoop

from keras_actionformer.deploy import server_json as protocol
from keras_actionformer.deploy.server_model import ServedSavedModel, find_version, first_line
from keras_actionformer.errors import UserError

_MAX_BODY_SEC = 60  # a client that sends slower holds a place that others wait for
_MAX_SHUTDOWN_SEC = 10
_FAILED = "The server failed at this request; its log tells why."


class ServingLimits(NamedTuple):
    """What a server takes on.

    Attributes:
      max_body_mb: float, most megabytes (10^6 bytes) of a request's body.
      max_steps: int, most steps of a sequence, and of a batch with its padding.
      max_instances: int, most sequences of a request.
      max_pending: int, most requests that are read, wait or are computed at a time.
      max_batch_size: int, most sequences that the model is given at a time.
      batch_timeout_ms: float, how long a request that is alone waits for others to share its
        batch. Those that come while the model is busy share the next one at any rate.
    """

    max_body_mb: float = 128
    max_steps: int = 16384
    max_instances: int = 64
    max_pending: int = 64
    max_batch_size: int = 16
    batch_timeout_ms: float = 2


def serve(model, name=None, host="127.0.0.1", port=8501, limits=ServingLimits()):  # noqa: B008
    """Serves a detector until SIGINT (Ctrl-C) or SIGTERM comes; to be called in the main thread.

    What it has taken on by then is answered first, if that takes no more than 10 seconds.

    Args:
      model: str or `os.PathLike`, folder of an exported model, whose highest version is served,
        or of one version.
      name: str, the model's name in the URL; default: the folder's.
      host: str, address to listen at: "127.0.0.1" (this machine alone), "0.0.0.0" or "::".
      port: int.
      limits: `ServingLimits`.

    Raises:
      UserError: there is no such model, it is no exported detector, the port is taken, or the
        model's process ended.
      KeyboardInterrupt: after a clean stop by SIGINT.
    """
    default_name, version, folder = find_version(model)
    name = default_name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UserError(f"The name {name!r} fits no URL: give one of A-Z a-z 0-9 _ . - by --name.")
    _check_address(host, port)
    api = _DetectorAPI(folder, limits, f"/v1/models/{name}:predict")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    server = _DetectorServer(api, name, version, address, limits)
    others = set(multiprocessing.active_children())
    with _stop_signals() as received:
        try:
            # Its messages about stopping, among them tracebacks, tell a user nothing.
            server.run(host, port, 1, log_level="critical", generate_client_file=False)
        except KeyboardInterrupt:
            pass
        except (EOFError, OSError) as error:  # litserve stops so when a process of it has died
            raise UserError(
                "The model's process ended unexpectedly; was there enough memory?"
            ) from error
        finally:
            # litserve leaves them when it is stopped before all is ready.
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
                process.join()
    if received == [signal.SIGINT]:
        raise KeyboardInterrupt


def _check_address(host, port):
    """Raises UserError where nothing can listen at an address."""
    known = ("127.0.0.1", "0.0.0.0", "::")  # litserve takes no others
    if host not in known:
        raise UserError(f"The host must be {', '.join(known[:-1])} or {known[-1]}, but is {host}.")
    if not 1024 <= port <= 65535:
        raise UserError(f"The port must be from 1024 to 65535, but is {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the server will: what a server of before left behind is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "is in use; choose another" if taken else f"cannot be had ({error.strerror})"
            raise UserError(f"Port {port} of {host} {reason}.") from error


@contextlib.contextmanager
def _stop_signals():
    """Turns the first SIGINT or SIGTERM in the block to KeyboardInterrupt; yields a list for it.

    Processes that are forked in the block inherit that they do nothing at these signals by
    themselves: this process ends them in their order.
    """
    server, received = os.getpid(), []

    def stop(signum, frame):
        if os.getpid() == server and not received:
            received.append(signum)
            raise KeyboardInterrupt

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end_with_parent(siblings=()):
    """Ends this process, and others by their ids, when the one that started it was killed."""

    def wait():
        multiprocessing.parent_process().join()
        for pid in siblings:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


# === The HTTP process ===


async def _read(request: fastapi.Request):
    """Yields the `Request` in the body of an HTTP request, once it is its turn to be read."""
    state = request.app.state
    if state.num_pending >= state.limits.max_pending:
        raise fastapi.HTTPException(
            503,
            f"The server is busy with {state.num_pending} requests; try again later.",
            {"Retry-After": "1"},
        )
    state.num_pending += 1
    try:
        body = await _read_body(request, int(state.limits.max_body_mb * 1e6))
        # One by one: while it is read, JSON takes several times the memory of its text.
        async with state.reading:
            try:
                content = await asyncio.to_thread(protocol.read_request, body, state.accepted)
            except UserError as error:
                raise fastapi.HTTPException(400, str(error)) from None
        del body
        yield content
    finally:
        state.num_pending -= 1


async def _read_body(request, max_bytes):
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise fastapi.HTTPException(415, f"The body is encoded by {encoding!r}; send plain JSON.")
    too_large = fastapi.HTTPException(
        413, f"The body must have at most {max_bytes} bytes; send fewer sequences at a time."
    )
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(_MAX_BODY_SEC):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except starlette.requests.ClientDisconnect:
        raise fastapi.HTTPException(400, "The body ended early.") from None
    except TimeoutError:
        raise fastapi.HTTPException(408, f"The body took over {_MAX_BODY_SEC} s.") from None
    return body


def _json(body, status=200, headers=None):
    return fastapi.Response(body, status, headers, media_type="application/json")


class _DetectorServer(litserve.LitServer):
    """litserve's server with the paths of TensorFlow Serving, for one `_DetectorAPI`."""

    def __init__(self, api, name, version, address, limits):
        # The accelerator is TensorFlow's affair. A request that was taken on is answered, however
        # long it has waited: max_pending is what bounds that.
        super().__init__(api, accelerator="cpu", timeout=False, disable_openapi_url=True)
        self.uvicorn_graceful_timeout = _MAX_SHUTDOWN_SEC
        self._name, self._version, self._address = name, version, address
        state = self.app.state
        state.limits, state.num_pending, state.reading = limits, 0, asyncio.Semaphore(1)
        self._add_paths()

    def _add_paths(self):
        model = f"/v1/models/{self._name}"
        versioned = f"{model}/versions/{self._version}"
        predict = next(
            route.endpoint for route in self.app.routes if route.path == self.lit_api.api_path
        )
        self.app.post(f"{versioned}:predict")(predict)

        async def status():
            return _json(protocol.write_status(self._version))

        async def metadata():
            return _json(self.app.state.metadata)

        async def fail(request, error):
            return _json(protocol.write_error(_FAILED), 500)

        async def refuse(request, error):
            sentence, path = str(error.detail), request.url.path
            if error.status_code == 500:
                sentence = _FAILED
            elif error.status_code == 404:
                sentence = (
                    f"There is nothing at {path[:200]}: this server has the model {self._name!r}, "
                    f"version {self._version}, at {model}:predict."
                )
            elif error.status_code == 405:
                allowed = error.headers["Allow"]
                sentence = f"{path} does not take {request.method}, but {allowed}."
            return _json(protocol.write_error(sentence), error.status_code, error.headers)

        for path in (model, versioned):
            self.app.get(path)(status)
            self.app.get(f"{path}/metadata")(metadata)
        self.app.add_exception_handler(starlette.exceptions.HTTPException, refuse)
        self.app.add_exception_handler(Exception, fail)

    def launch_inference_worker(self, lit_api):
        # Made now, so that no other process has its end that the model's process writes to: when
        # that is gone, there is nothing to wait for.
        self._description, lit_api.description = multiprocessing.Pipe(duplex=False)
        # Inherited: Ctrl-C, which a terminal sends to all processes, is this process' affair.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return super().launch_inference_worker(lit_api)
        finally:
            lit_api.description.close()
            signal.signal(signal.SIGINT, before)

    def verify_worker_status(self):
        """Waits until the model has been loaded and warmed up."""
        try:
            description = self._description.recv()
        except EOFError:
            raise UserError(
                "The model's process ended while it was loaded; was there enough memory?"
            ) from None
        if isinstance(description, UserError):
            raise description
        state = self.app.state
        state.accepted = protocol.Accepted(
            description.num_channels,
            description.required,
            state.limits.max_instances,
            state.limits.max_steps,
        )
        state.metadata = protocol.write_metadata(self._name, self._version, description.signatures)
        super().verify_worker_status()
        self._siblings = [process.pid for process in multiprocessing.active_children()]
        print(
            f"{self._name}, version {self._version}, is served at http://{self._address}"
            f"{self.lit_api.api_path} (Ctrl-C stops).",
            flush=True,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app):
        _end_with_parent(self._siblings)
        litserve.configure_logging("error", stream=sys.stderr)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        async with super().lifespan(app):
            yield


# === The model's process ===


class _WaitingLoop(BatchedLoop):
    """Waits for requests; litserve's own loops ask a thousand times a second if there are any."""

    def get_batch_requests(self, lit_api, request_queue, transport):
        requests = [request_queue.get()]
        if request_queue.empty():
            time.sleep(lit_api.batch_timeout)
        # Not `get` until it raises Empty: that exception is in a cycle with its traceback, which
        # keeps the requests in memory until Python looks for cycles.
        while len(requests) < lit_api.max_batch_size and not request_queue.empty():
            requests.append(request_queue.get())
        return [(consumer, uid, content) for consumer, uid, _, content in requests], []


class _DetectorAPI(litserve.LitAPI):
    """Detections for several requests at a time; litserve sends it to the model's process.

    Attributes:
      description: a pipe's end, which takes the `Description` when the model is ready, or the
        UserError that says why it never will be.
    """

    def __init__(self, folder, limits, api_path):
        super().__init__(
            limits.max_batch_size, limits.batch_timeout_ms / 1000, api_path, loop=_WaitingLoop()
        )
        self._folder, self._limits = folder, limits
        self.description = None

    def setup(self, device):
        _end_with_parent()
        litserve.configure_logging("error", stream=sys.stderr)
        try:
            self._model = ServedSavedModel(
                self._folder, self._limits.max_batch_size, self._limits.max_steps
            )
        except UserError as error:
            self.description.send(error)
            sys.exit()
        self.description.send(self._model.description)

    def decode_request(self, request: Annotated[protocol.Request, fastapi.Depends(_read)]):
        return request

    def predict(self, requests):
        rows = self._model.detect([one for content in requests for one in content.instances])
        answers = []
        for content in requests:
            count = len(content.instances)
            answers.append((rows[:count], content.by_columns))
            rows = rows[count:]
        return answers

    def encode_response(self, output) -> fastapi.Response:
        rows, by_columns = output
        failed = [row for row in rows if isinstance(row, Exception)]
        if failed:
            reason = f"{type(failed[0]).__name__}: {first_line(failed[0])}"
            return _json(protocol.write_error(f"The model failed ({reason})."), 500)
        return _json(protocol.write_predictions(rows, by_columns))
