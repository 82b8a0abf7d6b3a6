"""`ServedModel` over gRPC: a server of TensorFlow Serving's own stubs that runs a SavedModel.

Clients of the stubs alone must get the same.
"""

import concurrent.futures
import contextlib
import pathlib
import threading

import keras
import numpy as np
import pytest

from helpers.programs import run_program
from helpers.served_detector import (
    CHANNELS,
    CLASSES,
    MOST,
    OUTPUTS,
    assert_found,
    expected,
    sequence,
)
from keras_actionformer import ServedModel
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.detections import load_detections
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer

pytest.importorskip("tensorflow_serving")

import grpc  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class TensorFlowDetector(tf.Module):
    """`detector` in TensorFlow."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, CHANNELS), tf.float32, "feats"),
            tf.TensorSpec((None,), tf.int32, "num_steps"),
            tf.TensorSpec((None,), tf.float32, "fps"),
            tf.TensorSpec((None,), tf.float32, "duration_sec"),
        ]
    )
    def detect(self, feats, num_steps, fps, duration_sec):
        length = tf.shape(feats)[1]
        num_steps = tf.where(num_steps == 0, length, num_steps)
        lowest = tf.float32.min
        values = tf.where(tf.sequence_mask(num_steps, length), feats[..., 0], lowest)
        room = [[0, 0], [0, MOST]]  # as there may be fewer steps
        scores, steps = tf.math.top_k(tf.pad(values, room, constant_values=lowest), MOST)
        longer = tf.abs(tf.gather(tf.pad(feats[..., 1], room), steps, batch_dims=1))
        starts = tf.cast(steps, tf.float32)
        segments = tf.stack([starts, starts + 1 + longer], axis=-1)
        segments /= tf.where(fps == 0, 10.0, fps)[:, None, None]
        limits = tf.where(duration_sec == 0, tf.float32.max, duration_sec)
        segments = tf.minimum(segments, limits[:, None, None])
        counts = tf.minimum(num_steps, MOST)
        found = tf.sequence_mask(counts, MOST)
        outputs = [tf.where(found, x, 0) for x in (scores, steps % 3)]
        return dict(
            zip(OUTPUTS, [tf.where(found[..., None], segments, 0.0), *outputs, counts], strict=True)
        )


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Runs the signature of a SavedModel, unless there is an `answer` or a `fault` comes before."""

    def __init__(self, folder):
        self.fault, self.answer = lambda context: None, None
        self._signature = tf.saved_model.load(folder).signatures["serving_default"]
        saved = saved_model_pb2.SavedModel.FromString(
            (pathlib.Path(folder) / "saved_model.pb").read_bytes()
        )
        self._definitions = saved.meta_graphs[0].signature_def

    def GetModelMetadata(self, request, context):
        self._check(request, context)
        assert list(request.metadata_field) == ["signature_def"]
        definitions = get_model_metadata_pb2.SignatureDefMap(signature_def=self._definitions)
        response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=request.model_spec)
        response.metadata["signature_def"].Pack(definitions)
        return response

    def Predict(self, request, context):
        self._check(request, context)
        if self.answer is not None:
            return self.answer
        assert request.model_spec.signature_name == "serving_default"
        inputs = {name: tf.constant(tf.make_ndarray(x)) for name, x in request.inputs.items()}
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        try:
            outputs = self._signature(**inputs)
        except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
        return response

    def _check(self, request, context):
        self.fault(context)
        spec = request.model_spec
        if spec.name != "fake" or spec.version.value not in (0, 2):
            wanted = f"Specific({spec.name}, {spec.version.value})"
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {wanted}")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("fake") / "2")
    module = TensorFlowDetector()
    tf.saved_model.save(module, folder, signatures={"serving_default": module.detect})
    return folder


@contextlib.contextmanager
def serve(folder):
    """The servicer of a gRPC server at `address`."""
    unlimited = [("grpc.max_receive_message_length", -1)]  # as TensorFlow Serving sets it
    pool = concurrent.futures.ThreadPoolExecutor(2)
    server = grpc.server(pool, options=unlimited)
    servicer = Servicer(folder)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    servicer.server = server
    server.start()
    try:
        yield servicer
    finally:
        server.stop(None)
        pool.shutdown()


@pytest.fixture
def grpc_server(saved_model):
    with serve(saved_model) as servicer:
        yield servicer


def ask_stubs(address, feats, fps, duration_sec):
    """Detections by TensorFlow Serving's stubs alone, as the guides of its clients do it."""
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "fake"
        request.model_spec.signature_name = "serving_default"
        for name, value in (
            ("feats", feats[None]),
            ("num_steps", np.array([len(feats)], np.int32)),
            ("fps", np.array([fps], np.float32)),
            ("duration_sec", np.array([duration_sec], np.float32)),
        ):
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        answer = stub.Predict(request, timeout=20)
    count = tf.make_ndarray(answer.outputs["num_detections"])[0]
    return [tf.make_ndarray(answer.outputs[name])[0, :count] for name in OUTPUTS[:3]]


@pytest.mark.parametrize("num_steps, fps, duration_sec", [(1, None, None), (40, 12.5, 2.0)])
def test_stubs_rest_and_grpc_agree(server, grpc_server, num_steps, fps, duration_sec):
    feats = sequence(num_steps)
    over_grpc = ServedModel(f"grpc://{grpc_server.address}/fake", CLASSES)
    found = over_grpc.detect(feats, fps=fps, duration_sec=duration_sec)
    segments, scores, classes = ask_stubs(grpc_server.address, feats, fps or 0, duration_sec or 0)
    np.testing.assert_array_equal(found.segments_sec, segments)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.labels, classes)
    over_rest = ServedModel(server.url, CLASSES).detect(feats, fps=fps, duration_sec=duration_sec)
    np.testing.assert_allclose(found.segments_sec, over_rest.segments_sec, rtol=1e-6)
    np.testing.assert_array_equal(found.scores, over_rest.scores)
    assert found.names == over_rest.names and len(found) == min(num_steps, MOST)


def test_many_long_sequences_over_grpc(grpc_server):
    """More than the 4 MB that gRPC takes by default."""
    sequences = [sequence(n, seed=n) for n in (5, 300_000, 6)]
    model = ServedModel(f"grpc://{grpc_server.address}/fake/versions/2/")
    assert model.input_dim == CHANNELS
    for found, feats in zip(model.detect(sequences), sequences, strict=True):
        assert_found(found, feats)


def test_a_long_answer_over_grpc(grpc_server):
    model, count = ServedModel(f"grpc://{grpc_server.address}/fake"), 300_000
    grpc_server.answer = predict_pb2.PredictResponse()
    segments_sec = np.random.default_rng(0).uniform(size=(1, count, 2)).astype("float32")
    for name, value in zip(
        OUTPUTS,
        (segments_sec, segments_sec[..., 0], np.ones((1, count), np.int32), np.int32([count])),
        strict=True,
    ):
        grpc_server.answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    found = model.detect(sequence(5))
    np.testing.assert_array_equal(found.segments_sec, segments_sec[0])


def test_wrong_models_over_grpc(grpc_server):
    for path, name in (("nosuch", "(nosuch, 0)"), ("fake/versions/7", "(fake, 7)")):
        url = f"grpc://{grpc_server.address}/{path}"
        with pytest.raises(UserError) as told:
            ServedModel(url)
        assert str(told.value) == (
            f"The server at {url} says: Servable not found for request: Specific{name}; check the "
            "model's name and version, and whether it is loaded."
        )


@pytest.mark.parametrize(
    "code, details, text",
    [
        ("INVALID_ARGUMENT", "Bad\n shape.", r"fake says: Bad shape\.$"),
        ("UNIMPLEMENTED", "Method not found!", "fake says: Method not found!"),
        ("UNAVAILABLE", "Shutting down.", r"cannot be reached \(Shutting down\.\).* port for gRPC"),
        ("INTERNAL", "", r"fake says: INTERNAL\.$"),
    ],
)
def test_a_grpc_server_that_refuses(grpc_server, code, details, text):
    url = f"grpc://{grpc_server.address}/fake"
    model = ServedModel(url)
    grpc_server.fault = lambda context: context.abort(getattr(grpc.StatusCode, code), details)
    for ask in (lambda: ServedModel(url), lambda: model.detect(sequence(5))):
        with pytest.raises(UserError, match=text):
            ask()


def test_a_grpc_server_that_is_too_late(grpc_server):
    released = threading.Event()
    model = ServedModel(f"grpc://{grpc_server.address}/fake", timeout_sec=0.3)
    grpc_server.fault = lambda context: released.wait(2)
    with pytest.raises(UserError, match=r"did not answer within 0\.3 s"):
        model.detect(sequence(5))
    released.set()


def test_a_grpc_server_that_dies(grpc_server):
    url = f"grpc://{grpc_server.address}/fake"
    model = ServedModel(url)
    grpc_server.server.stop(None).wait()
    with pytest.raises(UserError, match=f"{url} cannot be reached"):
        model.detect(sequence(5))
    with pytest.raises(UserError, match=f"{url} cannot be reached"):
        ServedModel(url)


def test_the_other_protocols_port(server, grpc_server):
    with pytest.raises(UserError, match="is not its port for REST|cannot be reached"):
        ServedModel(f"http://{grpc_server.address}/v1/models/fake")
    with pytest.raises(UserError, match="cannot be reached .*port for gRPC"):
        ServedModel(f"grpc://127.0.0.1:{server.server_port}/fake")


def test_grpc_answers_that_are_no_detections(grpc_server):
    url = f"grpc://{grpc_server.address}/fake"
    model = ServedModel(url)
    grpc_server.answer = predict_pb2.PredictResponse()
    with pytest.raises(UserError, match=f"{url} cannot be used: 'detection_segments' is missing"):
        model.detect(sequence(5))
    scores = grpc_server.answer.outputs["detection_scores"]
    scores.dtype, scores.tensor_content = tf.float32.as_datatype_enum, b"too short"
    scores.tensor_shape.dim.add().size = 3
    with pytest.raises(UserError, match=f"{url} answers no arrays"):
        model.detect(sequence(5))


def test_detect_over_grpc(grpc_server, tmp_path):
    feats = sequence(30)
    np.save(tmp_path / "a.npy", feats)
    done = run_program(
        tmp_path, "detect", "--feats=a.npy", f"--server=grpc://{grpc_server.address}/fake",
        "--output=found.json", no_proxy="*",
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    scores = load_detections(tmp_path / "found.json")["a"].scores
    np.testing.assert_array_equal(scores.astype("float32"), expected(feats)[1])


@pytest.mark.slow
def test_an_export_gives_what_the_model_gives(tmp_path):
    keras.utils.set_random_seed(2)
    model = ActionFormer(
        CHANNELS, len(CLASSES), backbone_arch=(1, 1, 2), embd_dim=16, fpn_dim=16, head_dim=16,
        n_head=2, n_mha_win_size=5, max_seq_len=64, class_names=CLASSES,
        grid=FeatureGrid(fps=30, stride_frames=4, window_frames=16),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # or else all scores would be nearly the same
        variable.assign(variable + rng.normal(0, 0.3, variable.shape))
    folder, _ = model.export_detector(tmp_path / "fake")
    names = (folder / "assets" / "labels.txt").read_text().splitlines()
    sequences = [sequence(n, seed=n) for n in (1, 30, 90)]
    with serve(str(folder)) as servicer:
        served = ServedModel(f"grpc://{servicer.address}/fake", names)
        for arguments in ({}, {"fps": 12.5, "duration_sec": [1, None, 3]}, {"max_detections": 7}):
            expected = model.detect(sequences, **arguments)
            found = served.detect(sequences, **arguments)
            for ours, theirs in zip(found, expected, strict=True):
                assert len(ours) == len(theirs) > 0 and ours.names == theirs.names
                np.testing.assert_allclose(ours.segments_sec, theirs.segments_sec, atol=1e-4)
                np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
        with pytest.raises(UserError, match="has 3 classes, but there are 2 class names"):
            ServedModel(served.url, names[:2])
