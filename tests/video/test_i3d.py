"""I3D: numbers of pytorch-i3d, of its layers and of the whole, and clips of a video."""

import functools

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, group, load
from helpers.torch_writer import write_checkpoint, write_old_checkpoint
from helpers.videos import write_video
from keras_actionformer.data.sidecars import read_sidecar
from keras_actionformer.errors import UserError
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.extraction import check_sampling, extract_steps, sidecar_of
from keras_actionformer.video.feature_folder import extract_videos
from keras_actionformer.video.i3d import inception, inception_i3d, max_pool, unit
from keras_actionformer.video.named_encoders import open_encoder
from keras_actionformer.video.reading import probe, sample_frames
from keras_actionformer.video.torch_weights import read_state, set_weights

OWN = Sampling(None, None, None)
CLASSIFIER = ("logits.conv3d.weight", "logits.conv3d.bias")


def channels_last(array):
    return np.moveaxis(array, 1, -1)


def output(build, x, state):
    """Numbers of the layers that `build` makes of an input, called `b`, channels first."""
    inputs = keras.Input(channels_last(x).shape[1:])
    model = keras.Model(inputs, build(inputs))
    named = {f"b.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    set_weights(model, named, "golden")
    return np.moveaxis(np.asarray(model(channels_last(x))), -1, 1)


def check(golden, name, facts, build):
    part = group(golden, f"{name}/")
    found = output(build, part["x"], group(part, "param/"))
    tolerance = 10 * max(facts["max_abs_f32_minus_f64"], 1e-7)
    np.testing.assert_allclose(found, part["out64"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("path", cases("p_i01"))
def test_units(path):
    golden = load(path)
    blocks = golden["meta_json"]["blocks"]
    # Those without either are no part of the network up to its features.
    blocks = {k: v for k, v in blocks.items() if v["batch_norm"] and v["activation"]}
    assert blocks
    for name, facts in blocks.items():
        channels = facts["out_shape"][1]
        build = functools.partial(
            unit, name="b", channels=channels, kernel=facts["kernel"], stride=facts["stride"]
        )
        check(golden, name, facts, build)


@pytest.mark.parametrize("path", cases("p_i02"))
def test_pools_see_zeros_outside(path):
    golden = load(path)
    for name, facts in golden["meta_json"]["blocks"].items():
        pool = functools.partial(max_pool, size=facts["kernel"], strides=facts["stride"], name="b")
        check(golden, name, facts, pool)


@pytest.mark.parametrize("path", cases("p_i03"))
def test_modules(path):
    golden = load(path)
    for name, facts in golden["meta_json"]["blocks"].items():
        widths = [
            golden[f"{name}/param/{branch}.conv3d.weight"].shape[0]
            for branch in ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")
        ]
        check(golden, name, facts, functools.partial(inception, name="b", channels=widths))


@pytest.mark.parametrize("write", [write_checkpoint, write_old_checkpoint])
@pytest.mark.parametrize("path", cases("p_i1"))
def test_the_network(tmp_path, path, write):
    golden, (weights,) = load(path), path.parent.glob("p_i3d_rgb_*.pt")
    state = {**read_state(weights), **group(golden, "param/")}
    write(tmp_path / "w.pt", state)
    state = read_state(tmp_path / "w.pt")
    for name, facts in golden["meta_json"]["runs"].items():
        run = group(golden, f"{name}/")
        clip = channels_last(run["frames"])
        model = inception_i3d(clip.shape[-1], *clip.shape[1:4])
        set_weights(model, state, weights, CLASSIFIER)
        ends = sorted({key.split("/")[1] for key in run if key.startswith("mid/")})
        outputs = [model.output, *(model.get_layer(end).output for end in ends)]
        feats, *found = map(np.asarray, keras.Model(model.input, outputs)(clip))
        for end, values in zip(ends, found, strict=True):
            values = np.moveaxis(values, -1, 1)
            *shape, norm = run[f"mid/{end}/shape_and_norm"]
            assert values.shape == tuple(shape)
            np.testing.assert_allclose(np.linalg.norm(values), norm, rtol=1e-5)
            expected = run[f"mid/{end}/slice"]
            np.testing.assert_allclose(values[0, :5, :2, :6, :6], expected, rtol=1e-4, atol=1e-4)
        tolerance = 10 * facts["max_abs_f32_minus_f64"]
        np.testing.assert_allclose(feats, run["features64"].reshape(1, -1), 0, tolerance)
        # And what becomes of them; every parameter of the file has its place.
        kernel, bias = (state[parameter] for parameter in CLASSIFIER)
        logits = feats @ kernel[:, :, 0, 0, 0].T.astype("f4") + bias
        np.testing.assert_allclose(logits, run["logits"][..., 0], rtol=1e-4, atol=1e-3)


# === The encoder ===


@functools.cache
def random_state(channels):
    rng, state = np.random.default_rng(channels), {}
    for layer in inception_i3d(channels).layers:
        if isinstance(layer, keras.layers.Conv3D):
            *size, inward, outward = layer.kernel.shape
            kernel = rng.standard_normal((outward, inward, *size), np.float32)
            state[f"{layer.name}.weight"] = kernel * np.sqrt(2 / kernel[0].size).astype("f4")
        elif isinstance(layer, keras.layers.BatchNormalization):
            ones = np.ones(layer.gamma.shape, np.float32)
            state |= {f"{layer.name}.{k}": ones for k in ("weight", "running_var")}
            state |= {f"{layer.name}.{k}": 0 * ones for k in ("bias", "running_mean")}
    return state | {CLASSIFIER[0]: np.zeros((400, 1024, 1, 1, 1)), CLASSIFIER[1]: np.zeros(400)}


@pytest.fixture(scope="module")
def rgb(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "rgb.pt"
    write_old_checkpoint(path, random_state(3))
    return path


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "flow.pt"
    write_old_checkpoint(path, random_state(2))
    return path


def features(path, encoder):
    sidecar = sidecar_of(probe(path), encoder, check_sampling(encoder, OWN))
    return np.concatenate(list(extract_steps(path, encoder, sidecar))), sidecar


def test_clips_of_a_video(tmp_path, rgb):
    pytest.importorskip("av")
    encoder = open_encoder(f"i3d:{rgb}")
    path = write_video(tmp_path / "v.mp4", 21, 30)
    feats, sidecar = features(path, encoder)
    assert feats.shape == (2, 1024) and feats.dtype == np.float32 and feats.std() > 0
    assert (sidecar.fps, sidecar.window_frames, sidecar.stride_frames) == (30, 16, 4)
    frames = np.stack(list(sample_frames(path, 30, sidecar.duration_sec, encoder.framing)))
    assert frames.shape == (21, 224, 224, 3)
    np.testing.assert_allclose(feats[1], encoder(frames[None, 4:20])[0], rtol=1e-4, atol=1e-4)
    assert encoder.record.keys() == {"name", "rgb_weights_sha256", "pixels"}


@pytest.mark.slow
def test_two_streams(tmp_path, rgb, flow):
    pytest.importorskip("av")
    pytest.importorskip("cv2")
    encoder = open_encoder(f"i3d:{flow},{rgb}")
    path = write_video(tmp_path / "v.mp4", 2, 30)
    told = []
    extract_videos({"v": path}, encoder, tmp_path, warn=lambda *row: told.append(row))
    assert told[0][0] == 2 and 0 < told[0][1] < 60
    feats, sidecar = np.load(tmp_path / "v.npy"), read_sidecar(tmp_path / "v.npy")
    assert feats.shape == (1, 2048) and sidecar.encoder["flow"].startswith("TV-L1")
    alone, _ = features(path, open_encoder(f"i3d:{rgb}"))
    np.testing.assert_allclose(feats[:, :1024], alone, rtol=1e-4, atol=1e-4)
    assert open_encoder(f"i3d:{flow}").width == 1024 and feats[:, 1024:].std() > 0


def test_files_that_do_not_fit(tmp_path, rgb):
    with pytest.raises(UserError, match="i3d needs its weights: i3d:rgb_imagenet.pt,flow_image"):
        open_encoder("i3d")
    with pytest.raises(UserError, match="rgb.pt: it has weights of the stream 'rgb', as the file"):
        open_encoder(f"i3d:{rgb},{rgb}")
    path = tmp_path / "other.pt"
    write_checkpoint(path, {"a": np.zeros(3, np.float32)})
    with pytest.raises(UserError, match="not the weights of I3D: missing: Conv3d_1a_7x7.conv3d.we"):
        open_encoder(f"i3d:{path}")
    write_checkpoint(
        path, {**random_state(3), "Conv3d_1a_7x7.conv3d.weight": np.zeros((64, 4) + (7,) * 3)}
    )
    with pytest.raises(UserError, match="weight has another shape, .64, 4, 7, 7, 7."):
        open_encoder(f"i3d:{path}")
    with pytest.raises(UserError, match="no.pt: this path does not exist"):
        open_encoder("i3d:no.pt")
