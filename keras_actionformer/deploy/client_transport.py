"""TensorFlow Serving's two protocols, REST and gRPC, as a client speaks them."""

import http.client
import json
import re
import time
import urllib.error
import urllib.request

import numpy as np

from keras_actionformer.checks import shown
from keras_actionformer.deploy.exported import SIGNATURE
from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra

_VERSION = r"(?:/versions/(?P<version>\d{1,18}))?/?"
_REST_URL = re.compile(rf"https?://[^/?#@\s]+(?:/[^?#\s]+)?/v1/models/[^/:?#\s]+{_VERSION}")
_GRPC_URL = re.compile(rf"grpc://(?P<address>[^/?#@\s]+)/(?P<name>[^/:?#\s]+){_VERSION}")

_LONGEST_QUOTE = 400  # characters of what a server says
# Most bytes of an answer without detections, and of one detection, which is four numbers, each of
# them on a line of its own as TensorFlow Serving writes them.
_MAX_OTHER_BYTES, _MAX_DETECTION_BYTES = 4_000_000, 400
_MAX_GRPC_BYTES = 64_000_000


def open_service(url, timeout_sec):
    """Opens the service of a model.

    Args:
      url: str, see `ServedModel`.
      timeout_sec: float.

    Returns:
      Object with the methods `signatures()`, which gives the JSON of the model's SignatureDefs by
      name, and `predict(inputs, max_detections)`, from and to a dict of NumPy arrays. Both raise
      UserError for whatever the server or the way to it does wrong, as for answers that are longer
      than so many detections are.

    Raises:
      UserError: the URL has another form, or what its protocol needs is not installed.
    """
    text = str(url)
    if _REST_URL.fullmatch(text):
        return _RestService(text.rstrip("/"), timeout_sec)
    if match := _GRPC_URL.fullmatch(text):
        version = match["version"] and int(match["version"])
        return _GrpcService(text, match["address"], match["name"], version, timeout_sec)
    raise UserError(
        "The URL of a server must be http://HOST:8501/v1/models/NAME (REST) or "
        "grpc://HOST:8500/NAME (gRPC), with /versions/N behind it for one version, but is "
        f"{shown(url)}."
    )


# === REST ===


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands on every answer as it came: no status raises, and no redirect is followed."""

    def http_response(self, request, response):
        return response

    https_response = http_response


class _RestService:
    def __init__(self, url, timeout_sec):
        self._url = url
        self._timeout_sec = timeout_sec
        self._opener = urllib.request.build_opener(_AnyStatus)

    def signatures(self):
        answer = self._ask("/metadata")
        try:
            return answer["metadata"]["signature_def"]["signature_def"]
        except (KeyError, TypeError):
            raise self._stranger("its metadata has no signatures") from None

    def predict(self, inputs, max_detections):
        max_bytes = _MAX_OTHER_BYTES + max_detections * _MAX_DETECTION_BYTES
        outputs = self._ask(":predict", _predict_body(inputs), max_bytes).get("outputs")
        if not isinstance(outputs, dict):
            raise self._stranger("its answer has no outputs")
        arrays = {}
        for name, values in outputs.items():
            try:
                arrays[name] = np.asarray(values)
            except ValueError:  # lists of unequal lengths
                raise self._stranger(f"its {name!r} is no array") from None
        return arrays

    def _ask(self, path, body=None, max_bytes=_MAX_OTHER_BYTES):
        """The JSON object that the server answers to a GET, or to a POST of `body` (bytes)."""
        request = urllib.request.Request(
            self._url + path, body, {"Content-Type": "application/json"}
        )
        try:
            with self._opener.open(request, timeout=self._timeout_sec) as response:
                status, headers = response.status, response.headers
                text = self._read(response, max_bytes)
        # UnicodeError: a name that no host can have.
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise self._unreached(error) from error
        if 300 <= status < 400:
            raise UserError(
                f"The server at {self._url} redirects to {_quoted(str(headers['Location']))}; give "
                "the URL that it moved to."
            )
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and "error" in answer:
            raise _refused(self._url, answer["error"], is_missing=status == 404)
        if status != 200 or not isinstance(answer, dict):
            start = _quoted(text[: 4 * _LONGEST_QUOTE].decode(errors="replace"), 60)
            raise self._stranger(f"status {status}, {headers.get_content_type()}, {start!r}")
        return answer

    def _read(self, response, max_bytes):
        """The body of a response, which may neither be longer nor take longer than is expected."""
        end_sec = time.monotonic() + self._timeout_sec
        text = bytearray()
        while chunk := response.read1(2**16):
            text += chunk
            if len(text) > max_bytes:
                raise self._stranger(f"its answer has more than {max_bytes} bytes")
            if time.monotonic() > end_sec:
                raise TimeoutError
        if response.length:
            raise http.client.IncompleteRead(bytes(text), response.length)
        return text

    def _unreached(self, error):
        """The UserError for an exception of `urllib`, or of the modules below it."""
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, TimeoutError):
            return _too_late(self._url, self._timeout_sec)
        if isinstance(reason, (http.client.HTTPException, ConnectionError)) and not isinstance(
            reason, (ConnectionRefusedError, http.client.InvalidURL)
        ):
            return UserError(
                f"The server at {self._url} broke off ({type(reason).__name__}: {reason}): its log "
                "tells why, unless this is not its port for REST (8501 by default)."
            )
        reason = getattr(reason, "strerror", None) or reason
        return _unreachable(self._url, "REST (8501 by default)", reason)

    def _stranger(self, what):
        return UserError(
            f"{self._url} does not answer as TensorFlow Serving does: {what}; check the URL."
        )


def _predict_body(inputs):
    """The JSON (bytes) of a Predict request for a dict of NumPy arrays."""
    tensors = ",".join(f'"{name}":{_array_json(array)}' for name, array in inputs.items())
    return f'{{"signature_name":"{SIGNATURE}","inputs":{{{tensors}}}}}'.encode()


def _array_json(array):
    """The JSON of an int32 or float32 array: a third of the time and size of `json.dumps`."""
    if array.ndim > 1:
        return f"[{','.join(map(_array_json, array))}]"
    form = "%d"
    if array.dtype.kind == "f":
        # Nine digits tell every float32. TensorFlow Serving refuses to make a float32 of a whole
        # number from 2^24 up unless it is written with a point.
        form = "%.9g" if np.abs(array).max() < 2**24 else "%.8e"
    return f"[{','.join([form] * len(array)) % tuple(array.tolist())}]"


# === gRPC ===


class _GrpcService:
    def __init__(self, url, address, name, version, timeout_sec):
        stubs = import_extra(
            "tensorflow_serving.apis.prediction_service_pb2_grpc",
            "tensorflow-serving-api",
            "grpc",
            url,
        )
        import grpc
        from tensorflow_serving.apis import predict_pb2

        self._url = url
        self._timeout_sec = timeout_sec
        self._spec = predict_pb2.PredictRequest().model_spec
        self._spec.name = name
        if version is not None:
            self._spec.version.value = version
        limits = {"send": -1, "receive": _MAX_GRPC_BYTES}
        options = [(f"grpc.max_{way}_message_length", limit) for way, limit in limits.items()]
        channel = grpc.insecure_channel(address, options)
        self._stub = stubs.PredictionServiceStub(channel)

    def signatures(self):
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=self._spec, metadata_field=["signature_def"]
        )
        answer = self._ask(self._stub.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return MessageToDict(signatures, preserving_proto_field_name=True).get("signature_def", {})

    def predict(self, inputs, max_detections):  # which it needs not be told
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(model_spec=self._spec)
        request.model_spec.signature_name = SIGNATURE
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        answer = self._ask(self._stub.Predict, request)
        try:
            return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}
        except (TypeError, ValueError) as error:
            raise UserError(f"The server at {self._url} answers no arrays: {error}.") from error

    def _ask(self, method, request):
        import grpc

        try:
            return method(request, timeout=self._timeout_sec)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise _too_late(self._url, self._timeout_sec) from error
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                reason = _quoted(error.details())
                raise _unreachable(self._url, "gRPC (8500 by default)", reason) from error
            is_missing = error.code() == grpc.StatusCode.NOT_FOUND
            raise _refused(self._url, error.details() or error.code().name, is_missing) from error


# === What went wrong, one sentence each ===


def _too_late(url, timeout_sec):
    return UserError(
        f"The server at {url} did not answer within {timeout_sec:g} s; a larger timeout_sec "
        "(--timeout) waits longer."
    )


def _unreachable(url, port, reason):
    return UserError(
        f"{url} cannot be reached ({reason}): check that the server runs and that this is its host "
        f"and its port for {port}."
    )


def _refused(url, text, is_missing):
    hint = "; check the model's name and version, and whether it is loaded" if is_missing else ""
    return UserError(f"The server at {url} says: {_quoted(str(text)).rstrip('.')}{hint}.")


def _quoted(text, longest=_LONGEST_QUOTE):
    """What a server says, on one line and of bounded length."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]}..."
