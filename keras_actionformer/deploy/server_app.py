"""What a server of a detector answers to HTTP: paths, limits and refusals, as an ASGI application.

    request -> limits -> JSON to arrays, in a thread -> `BatchQueue` -> answer

Paths and JSON are those of TensorFlow Serving (`server_json`).
"""

import asyncio

from absl import logging
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from keras_actionformer.deploy import server_json
from keras_actionformer.deploy.server_model import first_line
from keras_actionformer.errors import UserError

_MAX_BODY_SEC = 60  # a client that sends slower holds a place that others wait for


def predict_path(name):
    """The path that takes the requests for detections of a model."""
    return f"/v1/models/{name}:predict"


def answer_all(model, requests):
    """Answers several requests for detections at a time.

    Args:
      model: `ServedSavedModel`.
      requests: list of `server_json.Request`.

    Returns:
      List with the response to each.
    """
    rows = model.detect([one for request in requests for one in request.instances])
    answers = []
    for request in requests:
        count = len(request.instances)
        answers.append(_answer(rows[:count], request.by_columns))
        rows = rows[count:]
    return answers


def _answer(rows, by_columns):
    failed = [row for row in rows if isinstance(row, Exception)]
    if failed:
        reason = f"{type(failed[0]).__name__}: {first_line(failed[0])}"
        return _json(server_json.write_error(f"The model failed ({reason})."), 500)
    return _json(server_json.write_predictions(rows, by_columns))


def _json(body, status=200, headers=None):
    return Response(body, status, headers, media_type="application/json")


class DetectorApp:
    """The application for one model.

    Args:
      description: `server_model.Description`.
      batches: `BatchQueue` of `answer_all` for the model; the application's lifespan runs it.
      name: str, the model's name in the paths.
      version: int, its version.
      limits: `ServingLimits`.
    """

    def __init__(self, description, batches, name, version, limits):
        self._batches = batches
        self._name, self._version = name, version
        self._max_bytes, self._max_pending = int(limits.max_body_mb * 1e6), limits.max_pending
        self._accepted = server_json.Accepted(
            description.num_channels,
            description.required,
            limits.max_instances,
            limits.max_steps,
        )
        self._status = server_json.write_status(version)
        self._metadata = server_json.write_metadata(name, version, description.signatures)
        self._num_pending = 0
        # One by one: while it is read, JSON takes several times the memory of its text.
        self._reading = asyncio.Lock()

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
            lifespan=lambda app: self._batches.running(),
        )

    async def health(self, request):
        return PlainTextResponse("ok")

    async def status(self, request):
        return _json(self._status)

    async def metadata(self, request):
        return _json(self._metadata)

    async def predict(self, request):
        if self._num_pending >= self._max_pending:
            raise HTTPException(
                503,
                f"The server is busy with {self._num_pending} requests; try again later.",
                {"Retry-After": "1"},
            )
        self._num_pending += 1
        try:
            return await self._batches.answer(await self._read(request))
        finally:
            self._num_pending -= 1

    async def _read(self, request):
        """The `server_json.Request` in the body, once it is its turn to be read."""
        body = await self._read_body(request)
        async with self._reading:
            try:
                return await asyncio.to_thread(server_json.read_request, body, self._accepted)
            except UserError as error:
                raise HTTPException(400, str(error)) from None

    async def _read_body(self, request):
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise HTTPException(415, f"The body is encoded by {encoding!r}; send plain JSON.")
        too_large = HTTPException(
            413,
            f"The body must have at most {self._max_bytes} bytes; send fewer sequences at a time.",
        )
        if int(request.headers.get("content-length", 0)) > self._max_bytes:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(_MAX_BODY_SEC):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._max_bytes:
                        raise too_large
        except ClientDisconnect:
            raise HTTPException(400, "The body ended early.") from None
        except TimeoutError:
            raise HTTPException(408, f"The body took over {_MAX_BODY_SEC} s.") from None
        return body

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
        return _json(server_json.write_error(sentence), error.status_code, headers)

    async def fail(self, request, error):
        """The response where something is wrong with the server itself."""
        logging.error("A request failed.", exc_info=error)
        sentence = "The server failed at this request; its log tells why."
        return _json(server_json.write_error(sentence), 500)
