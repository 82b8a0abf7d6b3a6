"""What a server of a detector answers to HTTP: paths, limits and refusals, as an ASGI application.

    request -> `Bodies` -> JSON to arrays, in a thread -> `BatchQueue` -> JSON -> answer

Paths and JSON are those of TensorFlow Serving (`server_json`).
"""

import asyncio
import concurrent.futures
import contextlib
import functools

from absl import logging
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from keras_actionformer.deploy import server_json
from keras_actionformer.deploy.server_bodies import Bodies, busy
from keras_actionformer.deploy.server_model import first_line
from keras_actionformer.errors import UserError

_LARGE_BYTES = 1_000_000


def predict_path(name):
    """The path that takes the requests for detections of a model."""
    return f"/v1/models/{name}:predict"


def refusal(sentence, status, headers=None):
    """The response of a refusal, an ASGI application."""
    return _json(server_json.write_error(sentence), status, headers)


def _json(body, status=200, headers=None):
    return Response(body, status, headers, media_type="application/json")


class DetectorApp:
    """The application for one model.

    Args:
      description: `server_model.Description`.
      batches: `BatchQueue` for the model; the application's lifespan runs it.
      name: str, the model's name in the paths.
      version: int, its version.
      limits: `ServingLimits`.
    """

    def __init__(self, description, batches, name, version, limits):
        self._batches = batches
        self._name, self._version = name, version
        self._max_pending = limits.max_pending
        self._bodies = Bodies(
            int(limits.max_body_mb * 1e6), int(limits.max_pending_mb * 1e6), limits.max_pending
        )
        self._accepted = server_json.Accepted(
            description.num_channels,
            description.required,
            limits.max_instances,
            limits.max_steps,
        )
        self._status = server_json.write_status(version)
        self._metadata = server_json.write_metadata(name, version, description.signatures)
        self._num_pending = 0
        # Large bodies one by one, for they take memory; others do not wait for them.
        self._json_threads = [concurrent.futures.ThreadPoolExecutor(1) for _ in range(2)]

    def asgi(self):
        """The `Starlette` application."""
        model = f"/v1/models/{self._name}"
        routes = [Route("/health", self.health)]
        for path in (model, f"{model}/versions/{self._version}"):
            routes += [
                Route(f"{path}:predict", self.predict, methods=["POST"]),
                Route(path, self.status),
                Route(f"{path}/metadata", self.metadata),
            ]
        return Starlette(
            routes=routes,
            exception_handlers={HTTPException: self.refuse, Exception: self.fail},
            lifespan=self._running,
        )

    @contextlib.asynccontextmanager
    async def _running(self, app):
        async with self._batches.running():
            yield
        for thread in self._json_threads:
            thread.shutdown()

    async def health(self, request):
        return PlainTextResponse("ok")

    async def status(self, request):
        return _json(self._status)

    async def metadata(self, request):
        return _json(self._metadata)

    async def predict(self, request):
        self._check_room()
        with self._bodies.one() as body:
            text = await self._bodies.read(body, request)
            self._check_room()
            self._num_pending += 1
            try:
                return await _unless_gone(request, self._answer(text))
            finally:
                self._num_pending -= 1

    def _check_room(self):
        if self._num_pending >= self._max_pending:
            raise busy(f"has {self._num_pending} requests in hand")

    async def _answer(self, text):
        thread = self._json_threads[len(text) > _LARGE_BYTES]
        in_thread = functools.partial(asyncio.get_running_loop().run_in_executor, thread)
        try:
            asked = await in_thread(server_json.read_request, text, self._accepted)
        except UserError as error:
            raise HTTPException(400, str(error)) from None
        rows = await self._batches.answer(asked.instances)
        for i, row in enumerate(rows):
            if isinstance(row, Exception):
                where = f"{'inputs.feats' if asked.by_columns else 'instances'}[{i}]"
                reason = f"{type(row).__name__}: {first_line(row)}"
                raise HTTPException(500, f"The model failed on {where} ({reason}).")
        return _json(await in_thread(server_json.write_predictions, rows, asked.by_columns))

    async def refuse(self, request, error):
        """The response to an `HTTPException`, of this class or of Starlette."""
        sentence, headers, path = error.detail, error.headers, request.url.path
        if error.status_code == 404:
            sentence = (
                f"There is nothing at {path[:200]}: this server has the model {self._name!r}, "
                f"version {self._version}, at {predict_path(self._name)}."
            )
        elif error.status_code == 405:
            # Starlette names HEAD, too, in no certain order, which it takes wherever it takes GET.
            allowed = "GET" if "GET" in headers["Allow"] else "POST"
            headers = {"Allow": allowed}
            sentence = f"{path} does not take {request.method}, but {allowed}."
        return refusal(sentence, error.status_code, headers)

    async def fail(self, request, error):
        """The response where something is wrong with the server itself."""
        logging.error("A request failed.", exc_info=error)
        return refusal("The server failed at this request; its log tells why.", 500)


async def _unless_gone(request, answer):
    """What a coroutine gives, which is cancelled once the client is gone."""
    answer = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(request.receive())  # after the body, only the end can come
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise HTTPException(400, "The client is gone.")  # which nobody reads
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()
