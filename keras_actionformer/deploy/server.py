"""Serving an exported detector over HTTP where there is no TensorFlow Serving.

    address -> model -> `server_app` behind `server_access`, run by uvicorn until a signal comes

Of this library nothing that loads Keras is used.
"""

import asyncio
import contextlib
import errno
import re
import signal
import socket
from typing import NamedTuple

import uvicorn
from absl import logging

from keras_actionformer.deploy.server_access import Access
from keras_actionformer.deploy.server_app import DetectorApp, predict_path, refusal
from keras_actionformer.deploy.server_batches import BatchQueue
from keras_actionformer.deploy.server_listener import Listener
from keras_actionformer.deploy.server_model import ServedSavedModel, find_version
from keras_actionformer.errors import UserError

_HOSTS = ("127.0.0.1", "0.0.0.0", "::")
_MAX_SHUTDOWN_SEC = 10
# How long a connection may be without a request; an answer must have been fetched by then, too.
_MAX_IDLE_SEC = 20
_SPARE_CONNECTIONS = 64  # more than there are requests: for those that are refused, or come later


class ServingLimits(NamedTuple):
    """What a server takes on.

    Attributes:
      max_body_mb: float, most megabytes (10^6 bytes) of a request's body.
      max_steps: int, most steps of a sequence, and of a turn of the model, of which each request
        that waits has a part.
      max_instances: int, most sequences of a request.
      max_pending: int, most requests that wait or are computed at a time; as many may come.
      max_pending_mb: float, most megabytes of the bodies of all of these together.
      max_batch_size: int, most sequences that the model is given at a time.
      batch_timeout_ms: float, how long a request that is alone waits for others to share its
        batch. Those that come while the model is busy share the next one at any rate.
    """

    max_body_mb: float = 128
    max_steps: int = 16384
    max_instances: int = 64
    max_pending: int = 64
    max_pending_mb: float = 512
    max_batch_size: int = 16
    batch_timeout_ms: float = 2


def serve(
    model,
    name=None,
    host="127.0.0.1",
    port=8501,
    limits=ServingLimits(),
    allowed_hosts=(),
    allowed_origins=(),
):
    """Serves a detector until SIGINT (Ctrl-C) or SIGTERM comes; to be called in the main thread.

    What it has taken on by then is answered first; where that takes more than 10 seconds, the
    signal ends the process.

    Args:
      model: str or `os.PathLike`, folder of an exported model, whose highest version is served,
        or of one version.
      name: str, the model's name in the URL; default: the folder's.
      host: str, address to listen at: "127.0.0.1" (this machine alone), "0.0.0.0" or "::".
      port: int.
      limits: `ServingLimits`.
      allowed_hosts, allowed_origins: collections of str, the names that requests may call this
        machine by, and the web pages that may send them; see `server_access.Access`.

    Raises:
      UserError: there is no such model, it is no exported detector, the port is taken, or the
        model's thread ended.
      KeyboardInterrupt: after a clean stop by SIGINT.
    """
    default_name, version, folder = find_version(model)
    name = default_name if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UserError(f"The name {name!r} fits no URL: give one of A-Z a-z 0-9 _ . - by --name.")
    if limits.max_pending_mb < limits.max_body_mb:
        raise UserError(
            f"max_pending_mb must be at least max_body_mb, {limits.max_body_mb:g}, but is "
            f"{limits.max_pending_mb:g}: the largest body would always be refused."
        )
    max_connections = limits.max_pending + _SPARE_CONNECTIONS
    with _stopped_by_signals(), _reserved(host, port, max_connections) as listener:
        detector = ServedSavedModel(folder, limits.max_batch_size, limits.max_steps)
        batches = BatchQueue(
            detector.detect,
            limits.max_batch_size,
            limits.max_steps,
            limits.batch_timeout_ms / 1000,
        )
        app = DetectorApp(detector.description, batches, name, version, limits).asgi()
        app = Access(app, refusal, allowed_hosts, allowed_origins)
        with _port_problems(host, port):
            listener.listen()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        print(
            f"{name}, version {version}, is served at http://{address}{predict_path(name)} "
            "(Ctrl-C stops).",
            flush=True,
        )
        try:
            _run(app, listener)
        except (KeyboardInterrupt, _Terminated) as stop:
            if batches.is_computing:
                is_interrupt = isinstance(stop, KeyboardInterrupt)
                _end_process(signal.SIGINT if is_interrupt else signal.SIGTERM)
            if batches.failure is not None:
                raise UserError(
                    "The server stopped, as the thread of its model ended: start it again."
                ) from batches.failure
            raise


def _run(app, listener):
    """Runs an application until a signal comes, and raises that again once all is answered."""

    async def watched(scope, receive, send):
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        with listener.in_use(scope["client"]):
            await app(scope, receive, send)

    config = uvicorn.Config(
        watched,
        http="h11",  # the parser that bounds the headers of a request
        ws="none",
        lifespan="on",
        proxy_headers=False,  # whoever a proxy speaks for, the connection is the proxy's
        # The application logs what goes wrong; uvicorn's tracebacks at a stop tell a user nothing.
        log_config=None,
        log_level="critical",
        timeout_graceful_shutdown=_MAX_SHUTDOWN_SEC,
    )
    asyncio.run(_serve(uvicorn.Server(config), listener))


async def _serve(server, listener):
    ending = asyncio.create_task(listener.end_idle())
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()


def _end_process(signum):
    """Ends this process by a signal, at once.

    Python's own end would wait for the model, whose calls nothing can interrupt.
    """
    logging.error("Stopped before the model had answered.")
    signal.signal(signum, signal.SIG_DFL)
    signal.raise_signal(signum)


class _Terminated(BaseException):
    """SIGTERM came, as KeyboardInterrupt says that SIGINT came."""


def _terminate(signum, frame):
    raise _Terminated


@contextlib.contextmanager
def _stopped_by_signals():
    """In the block SIGINT raises KeyboardInterrupt, and SIGTERM leaves it without an exception."""
    # SIGINT, too: a shell lets what it starts in the background ignore it.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    before = {signum: signal.signal(signum, handler) for signum, handler in handlers.items()}
    try:
        yield
    except _Terminated:
        pass
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def _reserved(host, port, max_connections):
    """Yields a socket that is bound to an address, but does not listen yet."""
    if host not in _HOSTS:
        raise UserError(
            f"The host must be {', '.join(_HOSTS[:-1])} or {_HOSTS[-1]}, but is {host}."
        )
    if not 1024 <= port <= 65535:
        raise UserError(f"The port must be from 1024 to 65535, but is {port}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with Listener(family, max_connections, _MAX_IDLE_SEC) as listener:
        # What a server of before left behind is no obstacle.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with _port_problems(host, port):
            listener.bind((host, port))
        yield listener


@contextlib.contextmanager
def _port_problems(host, port):
    """Turns an OSError in the block to a UserError."""
    try:
        yield
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is in use; choose another" if taken else f"cannot be had ({error.strerror})"
        raise UserError(f"Port {port} of {host} {reason}.") from error
