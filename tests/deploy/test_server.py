"""The server without TensorFlow Serving: answers, batches, limits, faults, and how it stops."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("msgspec")

import tensorflow as tf

from helpers.programs import ROOT, run_here
from helpers.small_detector import NUM_CHANNELS, POISON, TOIL, save_small_detector
from keras_actionformer.deploy.server import serve
from keras_actionformer.deploy.server_json import (
    Accepted,
    Instance,
    group_by_length,
    pad_instances,
    read_request,
)
from keras_actionformer.deploy.server_model import ServedSavedModel, find_version
from keras_actionformer.errors import UserError

PATH = "/v1/models/small:predict"
PATIENCE_SEC = 180  # for what takes seconds, on a machine that has much else to do
MAX_PENDING = 20
LIMITS = (
    "--max_body_mb=1", "--max_steps=300", "--max_instances=8", f"--max_pending={MAX_PENDING}",
    "--max_batch_size=6",
)  # fmt: skip


# === Running a server ===


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A folder with the versions 2 and 10 of the model `small`."""
    folder = tmp_path_factory.mktemp("exports")
    for version in ("2", "10"):
        save_small_detector(folder / "small" / version)
    return folder


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(*options, program=("-m", "keras_actionformer.cli", "serve"), **variables):
    """A server's process, with a group of its own, and its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *program, f"--port={port}", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )  # fmt: skip
    return process, port


def wait_until_ready(process, port):
    for _ in range(10 * PATIENCE_SEC):
        with contextlib.suppress(ConnectionError):
            return ask(port, "GET", "/health")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate())


@contextlib.contextmanager
def running(*options, **variables):
    process, port = start(*options, **variables)
    try:
        wait_until_ready(process, port)
        yield process, port
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SEC)


@pytest.fixture(scope="module")
def port(exports, tmp_path_factory):
    """That of a server of `small` on a machine where importing Keras raises."""
    folder = tmp_path_factory.mktemp("no_keras")
    (folder / "keras.py").write_text("raise ImportError('There is no Keras here.')")
    path = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", "import keras"], env=environment, capture_output=True, check=False
    )
    assert b"There is no Keras here." in done.stderr
    with running(f"--model={exports / 'small'}", *LIMITS, PYTHONPATH=path) as (_, port):
        yield port


def ask(port, method, path, body=None, headers=()):
    """The status and the JSON, or else the text, that a server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        text = response.read()
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, json.loads(text) if is_json else text.decode()


def predict(port, content, path=PATH):
    status, answer = ask(port, "POST", path, json.dumps(content))
    assert status == 200, answer
    return answer


# === What is expected ===


@pytest.fixture(scope="module")
def direct(exports):
    """Calls the SavedModel on one instance: dict of arrays without batch axis."""
    return caller(exports / "small" / "10")


def caller(folder):
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures["serving_default"]

    def call(instance):
        outputs = signature(
            feats=tf.constant([instance["feats"]], tf.float32),
            num_steps=tf.constant([instance.get("num_steps", 0)], tf.int32),
            fps=tf.constant([instance.get("fps", 0)], tf.float32),
            duration_sec=tf.constant([instance.get("duration_sec", 0)], tf.float32),
        )
        return {name: tensor[0].numpy() for name, tensor in outputs.items()}

    call.loaded = loaded  # its variables live as long
    return call


def assert_answers(predictions, expected):
    assert len(predictions) == len(expected)
    for found, wanted in zip(predictions, expected, strict=True):
        assert found.keys() == wanted.keys()
        for name in wanted:
            tolerance = 1e-4 if name == "detection_segments" else 1e-5
            np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=tolerance)


def random_instance(rng, num_steps, num_channels=NUM_CHANNELS):
    """An instance of some of the kinds that there are."""
    feats = rng.standard_normal((num_steps, num_channels)).astype(np.float32)
    instance = {"feats": feats.tolist()}
    if rng.random() < 0.5:
        instance["num_steps"] = int(rng.integers(0, num_steps + 1))
    if rng.random() < 0.5:
        instance["fps"] = float(rng.uniform(5, 50))
    if rng.random() < 0.5:
        instance["duration_sec"] = float(rng.uniform(1, 10))
    return instance


# === Reading and batching ===


def test_a_batch_has_little_padding():
    lengths = np.random.default_rng(0).integers(1, 400, 200).tolist()
    groups = group_by_length(lengths, max_batch_size=7, max_steps=1000)
    assert sorted(i for group in groups for i in group) == list(range(200))
    for group in groups:
        own = [lengths[i] for i in group]
        assert len(group) <= 7 and len(group) * max(own) <= max(1000, max(own))
        assert len(group) * max(own) <= 1.25 * sum(own)
    # 7 would fit into each of the groups but for the limit of steps on the long ones.
    assert len(groups) < 200 / 2.5


def test_batches_by_hand():
    # 10 + 10 + 8: 30 steps for 28; 100 is alone, and 1 would be padded tenfold.
    assert group_by_length([10, 100, 8, 1, 10], 8, 1000) == [[1], [0, 4, 2], [3]]
    assert group_by_length([10, 10, 10], 2, 1000) == [[0, 1], [2]]
    assert group_by_length([10, 10, 10], 8, 20) == [[0, 1], [2]]
    assert group_by_length([30, 10], 8, 20) == [[0], [1]]


def test_padding():
    feats = np.arange(12, dtype=np.float32).reshape(3, 4)
    inputs = pad_instances([Instance(feats, 0.0, 2.5), Instance(feats[:1], 30.0, 0.0)])
    np.testing.assert_array_equal(inputs["feats"][0], feats)
    np.testing.assert_array_equal(inputs["feats"][1], [[0, 1, 2, 3], [0] * 4, [0] * 4])
    np.testing.assert_array_equal(inputs["num_steps"], [3, 1])
    np.testing.assert_array_equal(inputs["fps"], np.float32([0, 30]))
    np.testing.assert_array_equal(inputs["duration_sec"], np.float32([2.5, 0]))
    assert inputs["num_steps"].dtype == np.int32


def test_what_a_model_needs_must_be_given():
    accepted = Accepted(4, ("fps",), max_instances=8, max_steps=9)
    body = b'{"instances": [{"feats": [[1, 2, 3, 4]], "fps": 30}, {"feats": [[1, 2, 3, 4]]}]}'
    with pytest.raises(UserError, match=r"instances\[1\] lacks its fps"):
        read_request(body, accepted)
    (instance,) = read_request(body.replace(b', {"feats": [[1, 2, 3, 4]]}', b""), accepted)[0]
    assert instance.fps == 30


def test_steps_past_the_end_are_cut_off():
    body = b'{"inputs": {"feats": [[[1], [2], [3]], [[4]]], "num_steps": [2, 0]}}'
    request = read_request(body, Accepted(1, (), 8, 9))
    assert [one.feats.ravel().tolist() for one in request.instances] == [[1, 2], [4]]
    assert request.by_columns


# === The model ===


def test_required_inputs_are_those_without_a_default(exports, tmp_path):
    model = ServedSavedModel(exports / "small" / "10", 4, 100)
    assert model.description[:2] == (NUM_CHANNELS, ())
    save_small_detector(tmp_path / "1", optional=("num_steps", "duration_sec"))
    model = ServedSavedModel(tmp_path / "1", 4, 100)
    assert model.description[:2] == (NUM_CHANNELS, ("fps",))


def test_one_bad_sequence_does_not_harm_its_batch(exports, direct):
    good = np.ones((5, NUM_CHANNELS), np.float32)
    instances = [Instance(feats, 0.0, 0.0) for feats in (good, good * POISON, good * 2)]
    rows = ServedSavedModel(exports / "small" / "10", 4, 100).detect(instances)
    assert isinstance(rows[1], tf.errors.InvalidArgumentError)
    assert_answers([rows[0], rows[2]], [direct({"feats": good}), direct({"feats": good * 2})])


def test_models_that_cannot_be_served(tmp_path):
    save_small_detector(tmp_path / "other", signature="other")
    with pytest.raises(UserError, match="has no signature 'serving_default'"):
        ServedSavedModel(tmp_path / "other", 4, 100)
    add = tf.function(lambda x: {"y": x + 1}, input_signature=[tf.TensorSpec((None,), name="x")])
    tf.saved_model.save(tf.Module(), str(tmp_path / "add"), {"serving_default": add})
    with pytest.raises(UserError, match=r"must take feats .* but takes \{'x': \[None\]\}"):
        ServedSavedModel(tmp_path / "add", 4, 100)
    (tmp_path / "saved_model.pb").write_text("none")
    with pytest.raises(UserError, match="cannot be used .*pars"):
        ServedSavedModel(tmp_path, 4, 100)


def test_the_highest_version_is_found(exports, tmp_path):
    folder = exports / "small"
    assert find_version(folder) == ("small", 10, folder / "10")
    assert find_version(folder / "2") == ("small", 2, folder / "2")
    (tmp_path / "saved_model.pb").touch()
    assert find_version(tmp_path) == (tmp_path.name, 1, tmp_path)


def test_wrong_arguments(exports, tmp_path):
    with pytest.raises(UserError, match="'absent' is no folder"):
        serve("absent")
    with pytest.raises(UserError, match="neither saved_model.pb nor folders of versions"):
        serve(tmp_path)
    (tmp_path / "3").mkdir()
    with pytest.raises(UserError, match="3' holds no saved_model.pb"):
        serve(tmp_path)
    with pytest.raises(UserError, match="The name 'a/b' fits no URL"):
        serve(exports / "small", name="a/b")
    with pytest.raises(UserError, match="The host must be"):
        serve(exports / "small", host="example.org")
    with pytest.raises(UserError, match="The port must be from 1024"):
        serve(exports / "small", port=80)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="is in use; choose another"):
            serve(exports / "small", port=taken.getsockname()[1])


# === Answers ===


def test_predict_by_rows(port, direct):
    rng = np.random.default_rng(1)
    instances = [random_instance(rng, num_steps) for num_steps in (9, 1, 300, 31, 30)]
    answer = predict(port, {"signature_name": "serving_default", "instances": instances})
    assert answer.keys() == {"predictions"}
    assert_answers(answer["predictions"], [direct(instance) for instance in instances])


def test_predict_by_columns(port, direct):
    rng = np.random.default_rng(2)
    feats = rng.standard_normal((3, 7, NUM_CHANNELS)).astype(np.float32).tolist()
    inputs = {"feats": feats, "num_steps": [3, 0, 7], "fps": [20]}
    answer = predict(port, {"inputs": inputs}, "/v1/models/small/versions/10:predict")
    assert answer.keys() == {"outputs"}
    columns = answer["outputs"]
    assert np.shape(columns["detection_segments"]) == (3, 3, 2)
    rows = [{name: column[i] for name, column in columns.items()} for i in range(3)]
    steps = inputs["num_steps"]
    expected = [direct({"feats": feats[i], "num_steps": steps[i], "fps": 20.0}) for i in range(3)]
    assert_answers(rows, expected)


def test_what_is_padding_has_no_effect(port):
    feats = np.random.default_rng(3).standard_normal((6, NUM_CHANNELS)).tolist()
    whole = predict(port, {"instances": [{"feats": feats}]})
    cut = predict(port, {"instances": [{"feats": feats + [[9.0] * 4] * 3, "num_steps": 6}]})
    assert whole == cut


def test_requests_that_wait_together(port, direct):
    rng = np.random.default_rng(4)
    requests = [[random_instance(rng, int(n)) for n in rng.integers(1, 90, 2)] for _ in range(32)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda rows: predict(port, {"instances": rows}), requests))
    for answer, instances in zip(answers, requests, strict=True):
        assert_answers(answer["predictions"], [direct(instance) for instance in instances])


def test_status_metadata_and_health(port):
    expected = {
        "model_version_status": [
            {
                "version": "10",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    assert ask(port, "GET", "/v1/models/small") == (200, expected)
    assert ask(port, "GET", "/v1/models/small/versions/10") == (200, expected)
    status, answer = ask(port, "GET", "/v1/models/small/metadata")
    assert status == 200
    assert answer["model_spec"] == {"name": "small", "signature_name": "", "version": "10"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    feats = signature["inputs"]["feats"]
    assert feats["dtype"] == "DT_FLOAT" and feats["name"] == "serving_default_feats:0"
    assert feats["tensor_shape"] == {
        "dim": [{"size": size, "name": ""} for size in ("-1", "-1", "4")],
        "unknown_rank": False,
    }
    assert signature["outputs"].keys() == {
        "detection_segments", "detection_scores", "detection_classes", "num_detections",
    }  # fmt: skip
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert ask(port, "GET", "/health") == (200, "ok")


def test_a_client_of_tensorflow_serving(port, direct):
    from keras_actionformer.deploy.client import ServedModel

    feats = np.random.default_rng(5).standard_normal((12, NUM_CHANNELS)).astype(np.float32)
    found = ServedModel(f"http://127.0.0.1:{port}/v1/models/small").detect(feats, fps=25)
    expected = direct({"feats": feats, "fps": 25})
    assert len(found) == expected["num_detections"] == 3
    np.testing.assert_allclose(found.segments_sec, expected["detection_segments"], atol=1e-4)
    np.testing.assert_allclose(found.scores, expected["detection_scores"], atol=1e-5)


# === Faults ===


def rows(feats, **scalars):
    return json.dumps({"instances": [{"feats": feats, **scalars}]})


ONE = [[1.0, 2.0, 3.0, 4.0]]
DEEP = 100_000 * "["


@pytest.mark.parametrize(
    "body, text",
    [
        ("", "The body is no JSON"),
        ("{", "The body is no JSON"),
        (rows(ONE) + "x", "trailing characters"),
        (b'{"instances\xff": 1}', "The body is no JSON"),
        ("[1]", "Expected `object`, got `array`"),
        ("{}", "either 'instances' or 'inputs'"),
        ('{"instances": [], "inputs": {"feats": []}}', "either 'instances' or 'inputs'"),
        ('{"instances": []}', "must have 1 to 8 sequences, but has 0"),
        ('{"instances": null}', "got `null`"),
        ('{"inputs": {"feats": []}}', "inputs.feats must have 1 to 8 sequences"),
        (json.dumps({"instances": [{"feats": ONE}] * 9}), "1 to 8 sequences, but has 9"),
        ('{"instances": [[[1, 2, 3, 4]]]}', "got `array` - at `$.instances[0]`"),
        ('{"instances": [{}]}', "missing required field `feats`"),
        (rows(ONE, fsp=3), "unknown field `fsp`"),
        (rows([]), "instances[0] must have 1 to 300 steps of features, but has 0"),
        (rows([[]]), "must have 4 channels, but row 0 has 0"),
        (rows([[1, 2, 3]]), "must have 4 channels, but row 0 has 3"),
        (rows([[1, 2, 3, 4], [5]]), "must have 4 channels, but row 1 has 1"),
        (rows(ONE * 301), "1 to 300 steps of features, but has 301"),
        (rows([1, 2, 3, 4]), "Expected `array` in an array - at `$.instances[0].feats`"),
        (rows([*ONE, *([0] * 100_000)]), "Expected `array` in an array"),
        ('{"inputs": {"feats": [' + "0, " * 9999 + "0]}}", "in an array - at `$.inputs.feats`"),
        (rows([ONE]), "Expected `float`, got `array`"),
        (rows([[1, 2, 3, "4"]]), "got `str` - at `$.instances[0].feats[0][3]`"),
        (rows([[1, 2, 3, None]]), "Expected `float`, got `null`"),
        (rows([[1, 2, 3, True]]), "Expected `float`, got `bool`"),
        (rows([[1, 2, 3, float("nan")]]), "no NaN or Infinity"),
        (rows([[1, 2, 3, float("inf")]]), "no NaN or Infinity"),
        (rows([[1, 2, 3, 1e39]]), "does not fit into a float32"),
        ('{"instances": [{"feats": [[1, 2, 3, 1e400]]}]}', "Number out of range"),
        (rows([[1, 2, 3, 10**400]]), "Number out of range"),
        (rows(ONE, num_steps=-1), "must be 0 (all) to 1, its rows, but is -1"),
        (rows(ONE, num_steps=2), "must be 0 (all) to 1, its rows, but is 2"),
        (rows(ONE, num_steps=10**30), "must be 0 (all) to 1"),
        (rows(ONE, num_steps=1.5), "Expected `int`, got `float`"),
        (rows(ONE, num_steps="1"), "Expected `int`, got `str`"),
        (rows(ONE, fps=-1), "fps of instances[0] must be 0 (not given) or above"),
        (rows(ONE, duration_sec=1e39), "duration_sec of instances[0]"),
        ('{"inputs": {"feats": [[[1, 2, 3, 4]]], "fps": [1, 2]}}', "inputs.fps must have one"),
        ('{"inputs": {"feats": [[[1, 2, 3, 4]]], "fps": []}}', "inputs.fps must have one"),
        ('{"signature_name": "raw", "instances": []}', "signature_name must be"),
        (rows(ONE, num_steps="N").replace('"N"', "9" * 4301), "Integer value out of range"),
        (rows([[1, 2, 3, "N"]]).replace('"N"', "9" * 4301), "Number out of range"),
        (rows(ONE, fps="N").replace('"N"', "9" * 9999), "number of the body has over 4096 digits"),
        (rows([[0] * 100_000]), "must have 4 channels, but row 0 has 100000"),
        ('{"inputs": {"feats": [[]], "fps": [' + "0, " * 9999 + "0]}}", "but has 10000"),
        ('{"inputs": {"feats": [[]], "fps": 3}}', "got `int` - at `$.inputs.fps`"),
        ('{"inputs": {"feats": [[[1, 2, 3, "4"]]]}}', "got `str` - at `$.inputs.feats[0][0][3]`"),
        (DEEP, "has over 2508 '['"),
        ('{"instances": [{"feats": ' + DEEP, "has over 2508 '['"),
        ('{"instances": [' + 200 * '{"feats": []},', "has over 108 '{'"),
        ('{"instances": [{"feats": ' + 2000 * "[", "maximum recursion depth"),
        ('{"' + 100_000 * "x" + '": 1}', "unknown field `xxx"),
    ],
)  # fmt: skip
def test_bad_requests(port, body, text):
    status, answer = ask(port, "POST", PATH, body)
    assert status == 400 and answer.keys() == {"error"}
    assert text in answer["error"] and answer["error"].endswith(".")
    assert len(answer["error"]) < 400
    predict(port, json.loads(rows(ONE)))


@pytest.mark.parametrize(
    "method, path, status, text",
    [
        ("POST", "/v1/models/other:predict", 404, "model 'small', version 10"),
        ("GET", "/v1/models/other", 404, "model 'small', version 10"),
        ("GET", "/v1/models/small/versions/2", 404, "nothing at /v1/models/small/versions/2"),
        ("POST", "/v1/models/small/versions/2:predict", 404, "at /v1/models/small:predict"),
        ("POST", "/v1/models/small:classify", 404, "at /v1/models/small:predict"),
        ("GET", PATH, 405, f"{PATH} does not take GET, but POST."),
        ("DELETE", "/v1/models/small", 405, "does not take DELETE, but GET."),
    ],
)
def test_wrong_paths(port, method, path, status, text):
    found, answer = ask(port, method, path, rows(ONE) if method == "POST" else None)
    assert found == status and text in answer["error"]


def test_large_bodies(port):
    # Refused by its claim alone: nothing of it is sent.
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head(10_000_000_000))
        assert b" 413 " in client.recv(100)
    status, answer = ask(port, "POST", PATH, b" " * 1_000_001)
    assert status == 413 and "at most 1000000 bytes" in answer["error"]
    # One that tells no length, and one that tells two, of which HTTP ignores the number.
    chunked = b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    for start in (head(1).replace(b"\r\nContent-Length: 1", b""), head(1)):
        with connections(port, 1) as (client,):
            client.sendall(start.replace(b"\r\n\r\n", chunked))
            assert b" 411 " in client.recv(100)
    status, _ = ask(port, "POST", PATH, rows(ONE).ljust(1_000_000))
    assert status == 200


def test_compressed_bodies_are_refused(port):
    status, answer = ask(port, "POST", PATH, b"\x1f\x8b", {"Content-Encoding": "gzip"})
    assert status == 415 and "'gzip'; send plain JSON" in answer["error"]


def test_an_exception_in_the_model(port):
    good, bad = {"feats": ONE}, {"feats": [[POISON] * 4]}
    status, answer = ask(port, "POST", PATH, json.dumps({"instances": [good, bad]}))
    assert status == 500
    assert "The model failed on instances[1] (InvalidArgumentError: " in answer["error"]
    predict(port, {"instances": [good]})


def head(num_bytes):
    """The head of a request for detections."""
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {num_bytes}\r\n\r\n".encode()
    )


@contextlib.contextmanager
def connections(port, count):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(count)
        ]


def is_closed(client):
    """Whether the server has ended a connection, within some seconds; what it said is dropped."""
    client.settimeout(30)
    with contextlib.suppress(ConnectionError):
        while client.recv(1000):
            pass
    return True


def test_slow_bodies_give_way(port):
    """As many as may come at a time, and then some more that are not slow."""
    body = rows(ONE).encode()
    with connections(port, MAX_PENDING) as clients:
        for client in clients:
            client.sendall(head(len(body)) + body[:-1])
        time.sleep(2)
        for _ in range(3):
            predict(port, json.loads(body))
        told = []
        for client in clients:
            with contextlib.suppress(ConnectionError):  # of those that the server has ended
                client.sendall(body[-1:])
            told.append(client.recv(12)[-3:])
        assert 1 <= told.count(b"408") <= 3 and told.count(b"200") == MAX_PENDING - told.count(
            b"408"
        )


def test_silent_and_slow_connections_give_way(port):
    """More than the server holds: those that have been idle longest are ended for others."""
    with connections(port, MAX_PENDING + 100) as clients:
        for client in clients[::2]:
            client.sendall(b"GET /health HTTP/1.1\r\nX: ")
        predict(port, json.loads(rows(ONE)))
        assert is_closed(clients[0]) and is_closed(clients[1])


def test_half_closed_connections_are_ended(port):
    with connections(port, 2) as clients:
        clients[0].sendall(head(100))
        clients[1].sendall(b"GET /hea")
        for client in clients:
            client.shutdown(socket.SHUT_WR)
            assert is_closed(client)


def test_an_endless_header_is_refused(port):
    with connections(port, 1) as (client,):
        client.sendall(b"GET /health HTTP/1.1\r\nX: " + 100_000 * b"x")
        with contextlib.suppress(ConnectionError):
            assert b" 400 " in client.recv(100)
    assert ask(port, "GET", "/health") == (200, "ok")


@pytest.mark.parametrize(
    "headers, text",
    [
        ({"Host": "example.org"}, "not known as 'example.org'; start it with --allowed_hosts"),
        ({"Host": "localhost.example.org:80"}, "not known as"),
        ({"Host": "127.0.0.1@example.org"}, "not known as"),
        ({"Origin": "http://example.org"}, "no web pages of other origins"),
        ({"Origin": "null"}, "no web pages of other origins"),
        ({"Origin": "http://localhost:1"}, "no web pages of other origins"),
        ({"Sec-Fetch-Site": "cross-site"}, "--allowed_origins"),
        ({"Sec-Fetch-Site": "same-site"}, "--allowed_origins"),
    ],
)
def test_web_pages_are_refused(port, headers, text):
    status, answer = ask(port, "POST", PATH, rows(ONE), headers)
    assert status == 403 and text in answer["error"]


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": host} for host in ("localhost", "LOCALHOST.:80", "10.0.0.7", "[::1]:8501")),
        {"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_programs_and_own_pages_are_answered(port, headers):
    assert ask(port, "POST", PATH, rows(ONE), headers)[0] == 200


# === Start and stop ===


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "msgspec"])
def test_the_extra_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    done = run_here(".", "serve", "--model=absent")
    assert done.returncode == 2
    assert f"{package}: pip install 'keras-actionformer[serve]'" in done.stderr


@pytest.mark.slow
def test_a_model_that_cannot_be_served_is_told(tmp_path):
    save_small_detector(tmp_path / "other" / "1", signature="other")
    process, _ = start(f"--model={tmp_path / 'other'}")
    out, errors = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 2 and not out
    assert errors.startswith("serve: The SavedModel '") and "has no signature" in errors
    assert len(errors.splitlines()) == 1
    assert_no_process_left(process)


@pytest.mark.parametrize(
    "signum, status, told, inherited",
    [
        (signal.SIGINT, 130, "serve: Interrupted.\n", signal.SIG_DFL),
        # As a shell starts what is to run in the background.
        pytest.param(
            signal.SIGINT, 130, "serve: Interrupted.\n", signal.SIG_IGN, marks=pytest.mark.slow
        ),
        pytest.param(signal.SIGTERM, 0, "", signal.SIG_DFL, marks=pytest.mark.slow),
    ],
)
def test_signals_stop_all_processes(exports, signum, status, told, inherited):
    before = signal.signal(signal.SIGINT, inherited)
    try:
        process, port = start(
            f"--model={exports / 'small'}", "--batch_timeout_ms=1500",
            program=(str(ROOT / "bin" / "serve"),),
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until_ready(process, port)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(predict, port, json.loads(rows(ONE)))
        time.sleep(0.5)
        if signum == signal.SIGINT:
            os.killpg(process.pid, signum)  # as a terminal does
        else:
            process.send_signal(signum)
        assert "predictions" in waiting.result(timeout=60)  # what was taken on is answered
    out, errors = process.communicate(timeout=PATIENCE_SEC)
    assert (process.returncode, errors) == (status, told)
    address = f"http://127.0.0.1:{port}/v1/models/small:predict"
    assert out == f"small, version 10, is served at {address} (Ctrl-C stops).\n"
    assert_no_process_left(process)


def assert_no_process_left(process):
    for _ in range(50):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("processes of the server are left")


def processes(group):
    """The ids of a group's processes."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.getpgid(int(path.name)) == group:
                found.append(int(path.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="needs /proc")
@pytest.mark.parametrize("early", [True, False])
def test_processes_that_are_killed(exports, early):
    """Out of memory, say: a server is one process, of which nothing is left."""
    process, port = start(f"--model={exports / 'small'}")
    if early:
        time.sleep(2)
    else:
        wait_until_ready(process, port)
    assert processes(process.pid) == [process.pid]
    process.kill()
    _, errors = process.communicate(timeout=PATIENCE_SEC)
    assert (process.returncode, errors) == (-signal.SIGKILL, "")
    assert_no_process_left(process)


MODEL_THAT_ENDS = """
import sys
from keras_actionformer.cli import main
from keras_actionformer.deploy.server_model import ServedSavedModel

def detect(self, instances):
    raise SystemExit("no more")

ServedSavedModel.detect = detect
sys.argv.insert(1, "serve")
main()
"""


@pytest.mark.slow
def test_a_server_whose_model_ends_says_so_and_ends(exports):
    process, port = start(f"--model={exports / 'small'}", program=("-c", MODEL_THAT_ENDS))
    wait_until_ready(process, port)
    status, answer = ask(port, "POST", PATH, rows(ONE))
    assert status == 500 and "error" in answer
    _, errors = process.communicate(timeout=PATIENCE_SEC)
    assert process.returncode == 2
    assert errors.splitlines() == [
        "Error: The model's thread ended (SystemExit: no more).",
        "serve: The server stopped, as the thread of its model ended: start it again.",
    ]
    assert_no_process_left(process)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_does_not_wait_for_a_model_without_an_end(exports, signum):
    process, port = start(f"--model={exports / 'small'}")
    wait_until_ready(process, port)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, port, "POST", PATH, rows([[TOIL] * 4]))
        time.sleep(1)
        process.send_signal(signum)
        assert waiting.result(timeout=30)[0] == 500
    _, errors = process.communicate(timeout=10)
    assert process.returncode == -signum
    assert "Stopped before the model had answered." in errors and len(errors.splitlines()) == 1


# === Load ===


def percentile_ms(seconds, percent):
    return 1000 * float(np.percentile(seconds, percent))


def resident_mb(group):
    """Resident memory of a group's processes."""
    total = 0
    for pid in processes(group):
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(status.split("VmRSS:")[1].split()[0]) / 1000
    return total


@pytest.fixture(
    scope="module", params=["small", pytest.param("simulated", marks=pytest.mark.exhaustive)]
)
def load_model(request, exports, tmp_path_factory):
    """(folder of a version, channels of its features)."""
    if request.param == "small":
        return exports / "small" / "10", NUM_CHANNELS
    from keras_actionformer import ActionFormer

    model = ActionFormer.from_preset("simulated")
    folder = tmp_path_factory.mktemp("simulated")
    model.export_detector(folder)
    return find_version(folder)[2], model.input["feats"].shape[-1]


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="needs /proc")
def test_load(load_model):
    """1000 requests of 16 clients: none is lost or mixed up, and memory stays."""
    folder, num_channels = load_model
    direct = caller(folder)
    rng = np.random.default_rng(6)
    requests = [
        [
            random_instance(rng, int(n), num_channels)
            for n in rng.integers(1, 400, rng.integers(1, 4))
        ]
        for _ in range(1000)
    ]
    seconds, answers, memory_mb = [None] * 1000, [None] * 1000, {}
    done = threading.Semaphore(0)
    with running(f"--model={folder}", "--name=load") as (process, port):

        def client(first):
            for i in range(first, 1000, 16):
                began = time.monotonic()
                answers[i] = predict(port, {"instances": requests[i]}, "/v1/models/load:predict")
                seconds[i] = time.monotonic() - began
                done.release()

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            clients = [pool.submit(client, first) for first in range(16)]
            for count in range(1, 1001):
                assert done.acquire(timeout=60)
                if count in (500, 1000):
                    memory_mb[count] = resident_mb(process.pid)
            for one in clients:
                one.result()
    for answer, instances in zip(answers, requests, strict=True):
        assert_answers(answer["predictions"], [direct(instance) for instance in instances])
    print(
        f"\n{folder.parent.name}: p50 {percentile_ms(seconds, 50):.0f} ms, "
        f"p99 {percentile_ms(seconds, 99):.0f} ms; resident {memory_mb[500]:.0f} MB after 500 "
        f"requests, {memory_mb[1000]:.0f} MB after 1000"
    )
    assert memory_mb[1000] < 1.05 * memory_mb[500] + 10


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="needs /proc")
def test_long_sequences_do_not_stay_in_memory(tmp_path):
    save_small_detector(tmp_path / "wide" / "1", num_channels=1024)
    body = rows(np.full((2000, 1024), 1.5).tolist())  # 8 MB as an array
    memory_mb = []
    with running(f"--model={tmp_path / 'wide'}") as (process, port):
        for _ in range(40):
            assert ask(port, "POST", "/v1/models/wide:predict", body)[0] == 200
            memory_mb.append(resident_mb(process.pid))
    assert max(memory_mb[20:]) < max(memory_mb[:20]) + 20
