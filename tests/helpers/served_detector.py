"""A made-up detector, and a server of it that speaks TensorFlow Serving's REST protocol.

The server is written after the protocol's description and is as strict as the original.
"""

import contextlib
import http.server
import json
import re
import sys
import threading

import numpy as np

CHANNELS, MOST, CLASSES = 4, 5, ("sit", "walk", "run")
OUTPUTS = ("detection_segments", "detection_scores", "detection_classes", "num_detections")


def detector(feats, num_steps, fps, duration_sec):
    """The made-up detector: the steps with the largest first channel, best first.

    A step is as long as its second channel says, a step lasts `1 / fps` seconds (0: fps is 10),
    and steps take turns in their classes.
    """
    batch, length, _ = feats.shape
    segments = np.zeros((batch, MOST, 2), np.float32)
    scores = np.zeros((batch, MOST), np.float32)
    classes = np.zeros((batch, MOST), np.int32)
    counts = np.minimum(np.where(num_steps == 0, length, num_steps), MOST).astype(np.int32)
    for row, count in enumerate(counts):
        values = feats[row, : num_steps[row] or length, 0]
        steps = np.argsort(-values, kind="stable")[:count]
        ends = steps + 1 + np.abs(feats[row, steps, 1])
        times = np.stack([steps, ends], axis=1) / (fps[row] or np.float32(10))
        segments[row, :count] = np.minimum(times, duration_sec[row] or np.inf)
        scores[row, :count] = values[steps]
        classes[row, :count] = steps % 3
    return dict(zip(OUTPUTS, (segments, scores, classes, counts), strict=True))


def sequence(num_steps, seed=0):
    """float32 (num_steps, CHANNELS); the first channel, which becomes the score, in (0, 1)."""
    rng = np.random.default_rng(seed)
    feats = rng.standard_normal((num_steps, CHANNELS)).astype("float32")
    feats[:, 0] = rng.uniform(size=num_steps)
    return feats


def expected(feats, fps=0, duration_sec=0):
    """The detector's outputs for one sequence, those that count."""
    outputs = detector(
        feats[None], np.array([0]), np.array([fps], "float32"), np.array([duration_sec], "float32")
    )
    count = outputs["num_detections"][0]
    return [outputs[name][0, :count] for name in OUTPUTS[:3]]


def assert_found(found, feats, **timing):
    segments, scores, classes = expected(feats, **timing)
    np.testing.assert_allclose(found.segments_sec, segments, rtol=1e-6)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.labels, classes)
    assert len(found) > 0 and found.segments_sec.dtype == found.scores.dtype == np.float32


TYPES = {"feats": "f4", "num_steps": "i4", "fps": "f4", "duration_sec": "f4"}


def tensor_info(dtype, *shape):
    dims = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": dtype, "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": "x:0"}


def metadata():
    """What GET .../metadata answers."""
    serving_default = {
        "inputs": {
            "feats": tensor_info("DT_FLOAT", -1, -1, CHANNELS),
            "num_steps": tensor_info("DT_INT32", -1),
            "fps": tensor_info("DT_FLOAT", -1),
            "duration_sec": tensor_info("DT_FLOAT", -1),
        },
        "outputs": {
            "detection_segments": tensor_info("DT_FLOAT", -1, MOST, 2),
            "detection_scores": tensor_info("DT_FLOAT", -1, MOST),
            "detection_classes": tensor_info("DT_INT32", -1, MOST),
            "num_detections": tensor_info("DT_INT32", -1),
        },
        "method_name": "tensorflow/serving/predict",
    }
    raw = {"outputs": {"logits": tensor_info("DT_FLOAT", -1, -1, len(CLASSES))}}
    signatures = {"serving_default": serving_default, "raw": raw}
    return {
        "model_spec": {"name": "fake", "signature_name": "", "version": "2"},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def read_tensor(name, values):
    """JSON lists to an array as strictly as TensorFlow Serving."""
    if not isinstance(values, list):
        is_whole = type(values) is int
        if TYPES[name] == "i4" and not is_whole:
            raise ValueError(f"JSON Value: {values} Type: Number is not of expected type: int32")
        if TYPES[name] == "f4" and is_whole and abs(values) >= 2**24:
            raise ValueError(
                f"Cannot convert JSON value: {values} to float without loss of precision."
            )
    elif TYPES[name] == "f4" and {*map(type, values)} == {float}:
        return np.array(values, "f4")
    else:
        return np.array([read_tensor(name, one) for one in values], TYPES[name])
    return np.array(values, TYPES[name])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.server.fault is not None:
            self.server.fault(self)
        elif self._is_model("/metadata"):
            self.reply(200, metadata())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.fault is not None:
            self.server.fault(self)
        elif self._is_model(":predict"):
            try:
                assert body["signature_name"] == "serving_default"
                assert body["inputs"].keys() == TYPES.keys()
                inputs = {name: read_tensor(name, body["inputs"][name]) for name in TYPES}
            except ValueError as error:
                self.reply(400, {"error": str(error)})
            else:
                outputs = detector(**inputs)
                self.reply(200, {"outputs": {name: x.tolist() for name, x in outputs.items()}})

    def _is_model(self, verb):
        """Tells the client where there is no such model."""
        path = self.path.removesuffix(verb)
        if path in ("/v1/models/fake", "/v1/models/fake/versions/2", "/tf/v1/models/fake"):
            return True
        match = re.fullmatch(r"/v1/models/([^/:]+)(?:/versions/(\d+))?", path)
        wanted = f"Specific({match[1]}, {match[2]})" if match[2] else f"Latest({match[1]})"
        self.reply(404, {"error": f"Servable not found for request: {wanted}"})
        return False

    def reply(self, status, content, kind="application/json", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client that went away
            super().handle_error(request, client_address)


@contextlib.contextmanager
def rest_server():
    """A server with `url`, the `bodies` it got, and a `fault` that answers in its place."""
    server = Server(("127.0.0.1", 0), Handler)
    server.fault, server.bodies = None, []
    server.root = f"http://127.0.0.1:{server.server_port}"
    server.url = f"{server.root}/v1/models/fake"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
