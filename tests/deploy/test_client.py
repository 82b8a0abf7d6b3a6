"""`ServedModel` and `detect --server` over REST."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from helpers.served_detector import (
    CHANNELS,
    CLASSES,
    MOST,
    assert_found,
    expected,
    metadata,
    sequence,
    tensor_info,
)
from keras_actionformer import Detections, ServedModel, Thresholds
from keras_actionformer.data.sidecars import Sidecar
from keras_actionformer.detection.detections import load_detections
from keras_actionformer.errors import UserError

ROOT = pathlib.Path(__file__).parents[2]


# === Detecting over REST ===


@pytest.mark.parametrize("num_steps", [1, 3, 40])
def test_one_sequence(server, num_steps):
    feats = sequence(num_steps)
    found = ServedModel(server.url, CLASSES).detect(feats)
    assert_found(found, feats)
    assert found.names == [CLASSES[label] for label in expected(feats)[2]]


def test_many_sequences(server):
    model = ServedModel(server.url)
    sequences = [sequence(n, seed=n) for n in (40, 7, 23)]
    found = model.detect((x for x in sequences), fps=[20, None, 5.5], duration_sec=2)
    assert isinstance(found, list)
    for detections, feats, fps in zip(found, sequences, (20, 0, 5.5), strict=True):
        assert_found(detections, feats, fps=fps, duration_sec=2)
        assert detections.class_names == ()
    assert model.detect([]) == []
    assert len(model.detect(np.stack(sequences[:1]))) == 1


def test_every_request_has_all_inputs(server):
    ServedModel(server.url).detect(sequence(6))
    ServedModel(server.url).detect(sequence(6), fps=30, duration_sec=1.5)
    for body, fps, duration_sec in zip(server.bodies, (0, 30), (0, 1.5), strict=True):
        inputs = dict(body["inputs"])
        assert np.shape(inputs.pop("feats")) == (1, 6, CHANNELS)
        assert inputs == {"num_steps": [6], "fps": [fps], "duration_sec": [duration_sec]}


def test_fewer_detections(server):
    model, feats = ServedModel(server.url), sequence(40)
    everything = model.detect(feats)
    assert len(everything) == MOST
    best = model.detect(feats, max_detections=2)
    np.testing.assert_array_equal(best.scores, everything.scores[:2])
    middle = float(everything.scores[2])
    above = model.detect([feats], score_threshold=middle)
    np.testing.assert_array_equal(above[0].scores, everything.scores[:3])


def test_features_arrive_bit_by_bit(server):
    """Any float32 that the server could take, whole numbers too, of which it minds large ones."""
    bits = np.random.default_rng(0).integers(0, 2**32, 50_000, dtype=np.uint32)
    feats = bits.view(np.float32)
    feats = feats[np.abs(feats) < 3e38][: 12_000 * CHANNELS].reshape(-1, CHANNELS)
    whole = np.array([0, -1, 2**23, 2**24 - 1, 2**24, -(2**24) - 2, 2**30, 10**9], "float32")
    feats = np.concatenate([feats, whole.reshape(-1, CHANNELS)])
    ServedModel(server.url).detect(feats.astype("float64"))
    sent = np.array(server.bodies[0]["inputs"]["feats"], "float32")
    np.testing.assert_array_equal(sent[0], feats)


@pytest.mark.parametrize("path", ["/v1/models/fake/", "/v1/models/fake/versions/2",
                                  "/tf/v1/models/fake"])  # fmt: skip
def test_other_ways_to_write_the_url(server, path):
    feats = sequence(9)
    assert_found(ServedModel(server.root + path).detect(feats), feats)


# === What its caller can mend ===


@pytest.mark.parametrize(
    "url",
    ["localhost:8501", "http://h:8501", "http://h:8501/fake", "http://h/v1/models/a:predict",
     "http://h/v1/models/a/versions/x", "http://h/v1/models/a/metadata", "grpc://h:8500",
     "grpc://h:8500/v1/models/a", "ftp://h/v1/models/a", "http://u:p@h/v1/models/a", None],
)  # fmt: skip
def test_wrong_url(url):
    with pytest.raises(UserError, match="must be http://HOST:8501/v1/models/NAME .REST. or grpc:"):
        ServedModel(url)


@pytest.mark.parametrize("timeout_sec", [0, -1, float("nan"), 1e30, "60"])
def test_wrong_timeout(timeout_sec):
    with pytest.raises(UserError, match="timeout_sec must be"):
        ServedModel("http://localhost:8501/v1/models/a", timeout_sec=timeout_sec)


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"feats": np.zeros((5, 3))}, r"feats must be \(T, 4\), .* shape is \(5, 3\)"),
        ({"feats": [np.zeros((5, 4)), np.zeros((0, 4))]}, r"feats\[1\] is empty"),
        ({"feats": np.full((5, 4), np.nan)}, "NaN or infinite values in 5 of 5 steps"),
        ({"fps": 0}, "fps must be above 0"),
        ({"fps": 1e-60}, "fps must be above 0"),
        ({"fps": [10, 20]}, "fps has 2 values for 1 sequence"),
        ({"duration_sec": -2}, "duration_sec must be above 0"),
        ({"duration_sec": 1e39}, "duration_sec must be above 0 and fit"),
        ({"duration_sec": float("nan")}, "duration_sec must be a finite number"),
        ({"duration_sec": "5"}, "duration_sec must be a finite number"),
        ({"max_detections": 0}, "max_detections must be at least 1"),
        ({"max_detections": 2.5}, "max_detections must be a whole number"),
        ({"max_detections": 6}, "max_detections is 6, .* to give at most 5"),
    ],
)
def test_wrong_arguments(server, arguments, text):
    with pytest.raises(UserError, match=text):
        ServedModel(server.url).detect(**{"feats": sequence(5), **arguments})
    assert not server.bodies


def test_another_number_of_classes(server):
    with pytest.raises(UserError, match="has 3 classes, but there are 2 class names"):
        ServedModel(server.url, CLASSES[:2])


@pytest.mark.parametrize(
    "path, name", [("nosuch", "Latest(nosuch)"), ("fake/versions/7", "Specific(fake, 7)")]
)
def test_unknown_model(server, path, name):
    url = f"{server.root}/v1/models/{path}"
    with pytest.raises(UserError) as told:
        ServedModel(url)
    assert str(told.value) == (
        f"The server at {url} says: Servable not found for request: {name}; check the model's name "
        "and version, and whether it is loaded."
    )


def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1/models/fake"
    with pytest.raises(UserError, match=f"{url} cannot be reached .*Connection refused"):
        ServedModel(url)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "localhost:port"])
def test_no_such_host(host):
    with pytest.raises(UserError, match=f"http://{host}/v1/models/fake cannot be reached"):
        ServedModel(f"http://{host}/v1/models/fake")


# === What a server may do wrong ===

HTML = b"<html>\n<h1>It works</h1>" + b"\xff." * 5000


def cut_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"outputs": {')


def answer_without_end(handler):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        while True:
            handler.wfile.write(b" " * 2**20)


def close(handler):
    handler.close_connection = True


FAULTS = {
    "html": (lambda h: h.reply(200, HTML, "text/html"),
             "as TensorFlow Serving does: status 200, text/html, '<html> <h1>It works</h1>"),
    "html error": (lambda h: h.reply(502, HTML, "text/html"), "status 502, text/html, '<html>"),
    "empty": (lambda h: h.reply(200, b""), "status 200, application/json, ''"),
    "list": (lambda h: h.reply(200, [1, 2]), r"as TensorFlow Serving does: status 200, .*\[1, 2\]"),
    "object with an error's status": (lambda h: h.reply(503, {"id": 1}), "does: status 503, "),
    "object": (lambda h: h.reply(200, {"id": 1}), "as TensorFlow Serving does: its"),
    "deep": (lambda h: h.reply(200, b"[" * 100_000), r"status 200, application/json, '\[\[\["),
    "error": (lambda h: h.reply(500, {"error": "No\n\t room. [[{{node x}}]]."}),
              r"fake says: No room\. \[\[\{\{node x\}\}\]\]\.$"),
    "error of another form": (lambda h: h.reply(500, {"error": {"code": 3}}), "says: {'code': 3}"),
    "error with status 200": (lambda h: h.reply(200, {"error": "Busy."}), r"says: Busy\.$"),
    "long error": (lambda h: h.reply(400, {"error": "x" * 9999}), r"says: x{400}\.*$"),
    "redirect": (lambda h: h.reply(302, b"", Location="http://127.0.0.1:1/v1/models/fake"),
                 "redirects to http://127.0.0.1:1/v1/models/fake; give"),
    "redirect of a POST": (lambda h: h.reply(308, b"", Location="/x"), "redirects to /x; give"),
    "endless": (answer_without_end, r"its answer has more than 40\d{5} bytes; check the URL"),
    "cut off": (cut_off, r"broke off \(IncompleteRead: "),
    "closed": (close, r"broke off \(RemoteDisconnected: .* port for REST"),
    "no HTTP": (lambda h: h.wfile.write(b"\x00\x00\x18\x04\x00"), r"broke off \("),
}  # fmt: skip


@pytest.mark.parametrize("when", ["metadata", "predict"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_does_wrong(server, fault, when):
    act, text = FAULTS[fault]
    if when == "metadata":
        server.fault = act
        with pytest.raises(UserError, match=text) as told:
            ServedModel(server.url)
    else:
        model = ServedModel(server.url)
        server.fault = act
        with pytest.raises(UserError, match=text) as told:
            model.detect(sequence(5))
    assert server.url in str(told.value) and "\n" not in str(told.value)
    assert len(str(told.value)) < 800


@pytest.mark.parametrize("when", ["metadata", "predict"])
def test_a_server_that_is_too_late(server, when):
    released = threading.Event()

    def answer_late(handler):
        released.wait(2)
        handler.reply(200, metadata() if when == "metadata" else {"outputs": GOOD})

    model = ServedModel(server.url, timeout_sec=0.2)
    server.fault = answer_late
    with pytest.raises(UserError, match=r"did not answer within 0\.2 s; .*--timeout"):
        if when == "metadata":
            ServedModel(server.url, timeout_sec=0.2)
        else:
            model.detect(sequence(5))
    released.set()


def test_a_server_that_stops_in_the_middle(server):
    released = threading.Event()

    def hang(handler):
        cut_off(handler)
        handler.wfile.flush()
        released.wait(20)

    model = ServedModel(server.url, timeout_sec=0.2)
    server.fault = hang
    with pytest.raises(UserError, match=r"did not answer within 0\.2 s"):
        model.detect(sequence(5))
    released.set()


def test_a_server_that_answers_byte_by_byte(server):
    def drip(handler):
        handler.send_response(200)
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            while not released.wait(0.05):
                handler.wfile.write(b" ")

    released = threading.Event()
    model = ServedModel(server.url, timeout_sec=0.3)
    server.fault = drip
    with pytest.raises(UserError, match=r"did not answer within 0\.3 s"):
        model.detect(sequence(5))
    released.set()


def test_a_server_works_again(server):
    model, feats = ServedModel(server.url), sequence(5)
    server.fault = FAULTS["cut off"][0]
    with pytest.raises(UserError):
        model.detect(feats)
    server.fault = None
    assert_found(model.detect(feats), feats)


def changed_metadata(change):
    answer = metadata()
    change(answer["metadata"]["signature_def"]["signature_def"])
    return answer


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda s: s["serving_default"]["inputs"].pop("fps"), "lacks 'fps' in its inputs"),
        (lambda s: s["serving_default"]["outputs"].pop("num_detections"),
         "lacks 'num_detections' in its outputs"),
        (lambda s: s.pop("serving_default"), "'serving_default' lacks 'feats' in its inputs"),
        (lambda s: s.update(serving_default=[1]), "as TensorFlow Serving never does"),
        (lambda s: s["serving_default"].pop("inputs"), "as TensorFlow Serving never does"),
        (lambda s: s["serving_default"]["inputs"].update(feats=tensor_info("DT_FLOAT")),
         "as TensorFlow Serving never does"),
        (lambda s: s["serving_default"]["inputs"].update(feats=tensor_info("DT_FLOAT", -1, -1, -1)),
         "feats of any width"),
        (lambda s: s["serving_default"]["inputs"].update(feats=tensor_info("DT_FLOAT", 8, -1, 4)),
         r"features of the one shape \(8, -1, 4\)"),
        (lambda s: s["serving_default"]["inputs"].update(feats=tensor_info("DT_FLOAT", -1, 99, 4)),
         r"features of the one shape \(-1, 99, 4\)"),
    ],
)  # fmt: skip
def test_a_model_that_is_no_detector(server, change, text):
    server.fault = lambda handler: handler.reply(200, changed_metadata(change))
    with pytest.raises(UserError, match=text):
        ServedModel(server.url)


def test_a_model_that_tells_less(server):
    """Without the raw signature and a limit of detections, nothing is compared with them."""

    def change(signatures):
        del signatures["raw"]
        signatures["serving_default"]["outputs"]["detection_scores"] = tensor_info(
            "DT_FLOAT", -1, -1
        )

    server.fault = lambda handler: handler.reply(200, changed_metadata(change))
    model = ServedModel(server.url, [*CLASSES, "more"])
    server.fault = None
    feats = sequence(9)
    assert_found(model.detect(feats, max_detections=100), feats)


@pytest.mark.parametrize(
    "defaults, missing, text",
    [
        (["num_steps", "fps"], {"fps": 3}, r"no timing of its own: pass duration_sec"),
        (["num_steps", "duration_sec"], {"duration_sec": 3}, r"several frame rates: pass fps"),
    ],
)
def test_a_model_without_a_timing(server, defaults, missing, text):
    """Zeros, which stand for the model's own value, would give detections at infinity."""

    def change(signatures):
        signatures["serving_default"]["defaults"] = {name: {} for name in defaults}

    server.fault = lambda handler: handler.reply(200, changed_metadata(change))
    model = ServedModel(server.url)
    server.fault = None
    feats = sequence(9)
    with pytest.raises(UserError, match=text):
        model.detect([feats, feats], **missing)
    assert_found(model.detect(feats, fps=3, duration_sec=4), feats, fps=3, duration_sec=4)


GOOD = {
    "detection_segments": [[[1.0, 2.5], [0.0, 0.5], [0.0, 0.0]]],
    "detection_scores": [[0.75, 0.25, 0.0]],
    "detection_classes": [[2, 0, 0]],
    "num_detections": [2],
}


@pytest.mark.parametrize(
    "name, value, text",
    [
        ("detection_segments", [[[1.0, 2.5], [0.0, 0.5]]], r"of shape \(1, 3, 2\), .*\(1, 2, 2\)"),
        ("detection_segments", [[[1.0, 2.5], [0.0], [0.0, 0.0]]], "is no array"),
        ("detection_segments", [[["a", "b"]] * 3], "must be real numbers"),
        ("detection_segments", [[[1.0, float("nan")], [0.0, 0.5], [0.0, 0.0]]], "must be finite"),
        ("detection_scores", [[0.75, 0.25]], r"must be real numbers of shape \(1, 2, 2\)"),
        ("detection_scores", [[1e300, 0.25, 0.0]], "scores must be finite"),
        ("detection_scores", [[None, 0.25, 0.0]], "must be real numbers"),
        ("detection_scores", 0.75, "must be real numbers"),
        ("detection_scores", [[0.75, 0.25, 0.0]] * 2, "'detection_scores' must be"),
        ("detection_classes", [[2.0, 0.0, 0.0]], "must be whole numbers of .*, but is float64"),
        ("detection_classes", [[True, False, False]], "must be whole numbers"),
        ("detection_classes", [[-1, 0, 0]], "labels must be 0 or larger"),
        ("detection_classes", [[3, 0, 0]], "label id 3 has no name"),
        ("num_detections", [4], "'num_detections' is 4, of 3"),
        ("num_detections", [-1], "'num_detections' is -1"),
        ("num_detections", [2.0], "must be whole numbers"),
        ("num_detections", 2, r"of shape \(1,\)"),
        ("num_detections", None, "'num_detections' is missing"),
    ],
)
def test_answers_that_are_no_detections(server, name, value, text):
    model = ServedModel(server.url, CLASSES)
    server.fault = lambda handler: handler.reply(200, {"outputs": GOOD})
    found = model.detect(sequence(5))
    assert found.names == ["run", "sit"] and found.segments_sec.tolist() == [[1, 2.5], [0, 0.5]]
    outputs = {**GOOD, name: value}
    if value is None:
        del outputs[name]
    server.fault = lambda handler: handler.reply(200, {"outputs": outputs})
    with pytest.raises(UserError, match=text) as told:
        model.detect(sequence(5))
    assert server.url in str(told.value)


def test_what_stands_behind_the_last_detection_does_not_count(server):
    outputs = {**GOOD, "num_detections": [0], "detection_scores": [[float("nan")] * 3]}
    model = ServedModel(server.url)
    server.fault = lambda handler: handler.reply(200, {"outputs": outputs})
    assert len(model.detect(sequence(5))) == 0


# === The program ===


# Where TensorFlow and Keras cannot be imported.
BARE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras", "tensorflow", "tensorflow_serving", "grpc"):
            raise ImportError(f"No module named {name!r}")
sys.meta_path.insert(0, Absent())
from keras_actionformer import cli
sys.argv[0] = "detect"
cli.run("detect")
"""


def detect(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "no_proxy": "*"}
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments],
        capture_output=True, text=True, timeout=120, cwd=folder, env=environment, check=False,
    )  # fmt: skip


def assert_told(done, *texts):
    assert done.returncode == 2 and not done.stdout, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1 and all(text in done.stderr for text in texts), done.stderr


@pytest.fixture
def folder(tmp_path):
    """A folder with the features of two videos and the names of the classes."""
    for name, num_steps in (("a", 30), ("b", 8)):
        np.save(tmp_path / f"{name}.npy", sequence(num_steps, seed=num_steps))
    (tmp_path / "labels.txt").write_text("sit\nwalk\nrun\n")
    return tmp_path


def test_detect_needs_neither_keras_nor_tensorflow(server, folder):
    done = detect(
        folder, f"--server={server.url}", "--feats=a.npy,b.npy", "--classes=labels.txt",
        "--fps=20", "--top_k=3", "--output=found.json",
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.startswith("a.npy: 3 detections\n start_sec    end_sec   score  label\n")
    found = load_detections(folder / "found.json", CLASSES)
    assert list(found) == ["a", "b"]
    for name, num_steps in (("a", 30), ("b", 8)):
        segments, scores, classes = expected(sequence(num_steps, seed=num_steps), fps=20)
        np.testing.assert_allclose(found[name].segments_sec, segments[:3], rtol=1e-6)
        np.testing.assert_array_equal(found[name].scores.astype("float32"), scores[:3])
        np.testing.assert_array_equal(found[name].labels, classes[:3])


def test_detect_knows_what_the_manifest_tells(server, folder):
    """Names of the classes, and from which scores on detections are bouts."""
    thresholds = {"common": 0.5, "per_class": [0.45, None, 0.1]}
    manifest = {"class_names": CLASSES, "thresholds": thresholds}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    options = (f"--server={server.url}", "--feats=a.npy", "--classes=manifest.json")
    done = detect(folder, *options)
    assert "recommends those with a score from 0.5 (0.1 to 0.45 by class) on" in done.stdout
    done = detect(folder, *options, "--bouts", "--output=found.json")
    assert done.returncode == 0, done.stderr
    segments, scores, classes = expected(sequence(30, seed=30))
    found = Detections(segments, scores, classes, CLASSES).bouts(Thresholds(**thresholds))
    written = load_detections(folder / "found.json", CLASSES)["a"]
    assert 0 < len(found) == len(written) and written.names == found.names
    (folder / "manifest.json").write_text("{}")
    assert_told(detect(folder, *options), "manifest.json is no manifest of an export that names")


def test_detect_compares_encoders(server, folder):
    """That of the features with that of the manifest, and the timing of their steps."""
    manifest = {
        "class_names": CLASSES,
        "grid": {"fps": 10, "stride_frames": 2, "window_frames": 4},
        "encoder": {"name": "i3d"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    options = (f"--server={server.url}", "--feats=a.npy", "--classes=manifest.json")
    Sidecar(10, 2, 4, 6.4, 64, {"name": "motion"}).save(folder / "a.npy")
    assert_told(detect(folder, *options), "encoder.name='motion'", "trained on is 'i3d'")
    assert detect(folder, *options, "--any_encoder").returncode == 0
    Sidecar(10, 4, 4, 6.4, 64, {"name": "i3d"}).save(folder / "a.npy")
    assert_told(detect(folder, *options), "stride_frames=4", "trained on is 2")
    for name, value in (("grid", {"fps": 10}), ("grid", 3), ("encoder", [1])):
        (folder / "manifest.json").write_text(json.dumps({**manifest, name: value}))
        assert_told(detect(folder, *options), "manifest.json", name)


def test_detect_without_names(server, folder):
    done = detect(folder, f"--server={server.url}", "--feats=b.npy", "--duration=0.5")
    assert done.returncode == 0, done.stderr
    label = expected(sequence(8, seed=8))[2][0]
    assert done.stdout.splitlines()[2].endswith(f"  class_{label}")
    ends = [float(line.split()[1]) for line in done.stdout.splitlines()[2:-1]]
    assert max(ends) == 0.5


def test_detect_tells_what_is_wrong(server, folder):
    np.save(folder / "wide.npy", np.zeros((5, 9)))
    (folder / "two.txt").write_text("sit\nwalk\n")
    (folder / "gap.txt").write_text("sit\n\nwalk\nrun\n")
    (folder / "none.txt").write_text("\n")
    here, feats = f"--server={server.url}", "--feats=a.npy"
    for arguments, texts in (
        ((here, "--feats=wide.npy"), ["'wide.npy' must have 4 channels, but its shape is (5, 9)"]),
        ((here, feats, "--classes=two.txt"), ["has 3 classes, but there are 2 class names"]),
        ((here, feats, "--classes=gap.txt"), ["--classes=gap.txt: line 2 is empty"]),
        ((here, feats, "--classes=none.txt"), ["--classes=none.txt holds no name"]),
        ((here, feats, "--classes=no.txt"), ["--classes=no.txt cannot be read"]),
        ((here, feats, "--timeout=0"), ["timeout_sec must be above 0"]),
        ((here, feats, "--workdir=run"), ["Give either", "--workdir=DIR", "--server=URL"]),
        ((here, feats, "--preset=simulated"), ["Give either", "--preset=NAME", "--server=URL"]),
        ((f"{here}x", feats), [f"{server.url}x says: Servable not found for request: Latest("]),
        (("--server=127.0.0.1:8501", feats), ["must be http://HOST:8501/v1/models/NAME"]),
        (("--server=grpc://127.0.0.1:8500/fake", feats), ["keras-actionformer[grpc]"]),
        ((here, feats, "--fps=0"), ["fps must be above 0"]),
        ((here, "--feats=a.npy,b.npy", "--duration=3"), ["--duration is that of one video"]),
    ):  # fmt: skip
        assert_told(detect(folder, *arguments), "detect: ", *texts)
    assert not server.bodies
