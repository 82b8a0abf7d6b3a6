"""What computed features: kept by models that learnt from them, and asked for by these."""

import dataclasses
import json

import numpy as np
import pytest

from helpers.programs import run_here
from helpers.small_run import small_config, write_data
from keras_actionformer import ActionFormer, FeatureFiles, UserError, Video
from keras_actionformer.data.encoder_records import (
    check_same_encoder,
    common_record,
    describe_record,
)
from keras_actionformer.data.sidecars import Sidecar, read_sidecar
from keras_actionformer.presets.runs import MODELS, write_config
from keras_actionformer.training.config import to_plain
from keras_actionformer.training.diagnosis import diagnose
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.run_scores import evaluate_workdir
from keras_actionformer.training.trainer import train

NET = {"name": "net", "weights": {"sha256": "aa"}, "framing": {"height": 8, "short_side": None}}
_OF_MODEL = "{name} of the model"
SAMPLING = {"fps": 25.0, "stride_frames": 25, "window_frames": 25}


def change(folder, name="v5", **changes):
    path = folder / "feats" / f"{name}.npy"
    dataclasses.replace(read_sidecar(path), **changes).save(path)


@pytest.fixture
def data(tmp_path):
    """A data set whose features tell what computed them, a feature a second."""
    write_data(tmp_path)
    for path in (tmp_path / "feats").glob("*.npy"):
        num_steps = len(np.load(path))
        Sidecar(25.0, 25, 25, float(num_steps), 25 * num_steps, NET).save(path)
    return tmp_path


def model_of(folder, config=None):
    experiment = Experiment(config or small_config(folder))
    return experiment.build_model(experiment.read_annotations())


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({**NET, "name": "nut"}, "It has encoder.name='nut', but that is 'net'; do"),
        ({**NET, "weights": {"sha256": "bb"}}, "weights.sha256='bb', .* of the model is 'aa'; do"),
        ({**NET, "framing": {"height": 8, "short_side": 9}}, "short_side=9, .* is None; do"),
        ({**NET, "clips": [1]}, "encoder.clips.0=1, .* of the model is None"),
    ],
)
def test_a_difference_is_told(other, text):
    check_same_encoder("It", NET, {**NET, "sampling": SAMPLING}, "that", "do")
    check_same_encoder("It", {}, NET, "that", "do")
    check_same_encoder("It", {"w": "a", "w_sha256": 1}, {"w": "b", "w_sha256": 1}, "that", "do")
    check_same_encoder("It", NET, None, "that", "do")
    with pytest.raises(UserError, match=text):
        check_same_encoder("It", other, NET, "that" if "that" in text else _OF_MODEL, "do")


def test_in_words():
    assert describe_record({**NET, "sampling": SAMPLING}) == (
        "net (weights.sha256=aa, framing.height=8)"
    )
    assert describe_record({"name": "motion"}) == "motion"


def test_streams_are_told_together(data, tmp_path):
    (tmp_path / "flow").mkdir()
    for path in (tmp_path / "feats").glob("*.npy"):
        np.save(tmp_path / "flow" / path.name, np.load(path))
    features = FeatureFiles([tmp_path / "feats", tmp_path / "flow"])
    assert features.sidecar("v0").encoder == {"name": "net + unknown", "streams": [NET, {}]}
    assert FeatureFiles([tmp_path / "flow"] * 2).sidecar("v0") is None


def test_a_model_knows_what_computed_its_features(data):
    config = small_config(data)
    config.data.downsample_rate = 2
    model = model_of(data, config)
    assert model.encoder == {**NET, "sampling": {**SAMPLING, "stride_frames": 50}}
    assert model.grid.stride_frames == 50
    model.save_to_preset(data / "preset")
    assert "Computed by: net (weights.sha256=aa" in (data / "preset/README.md").read_text()
    assert json.loads((data / "preset/metadata.json").read_text())["encoder"] == model.encoder
    again = ActionFormer.from_preset(data / "preset")
    assert again.encoder == model.encoder and again.get_config()["encoder"] == model.encoder
    assert ActionFormer.from_preset(data / "preset", num_classes=3).encoder == model.encoder
    assert ActionFormer.from_preset(data / "preset", input_dim=9).encoder is None
    for encoder, text in [
        ("net", "encoder must be a dict or None, but is 'net'"),
        ({"a": [[[[[[[[0]]]]]]]]}, "encoder must nest at most 8 dicts and lists"),
        ({"sampling": 3}, "encoder.sampling must be a dict, but is 3"),
        ({"sampling": {"fps": "x"}}, "encoder.sampling.fps must be a finite number, but it is 'x'"),
    ]:
        with pytest.raises(UserError, match=text):
            ActionFormer(input_dim=4, num_classes=1, encoder=encoder)


def test_what_differs_between_videos_is_left_open(data):
    change(data, fps=30.0, window_frames=20)
    features = FeatureFiles(data / "feats")
    none = "test", None, None, np.zeros((0, 2)), np.zeros(0, np.int64)
    videos = [Video(name, *none) for name in ("v0", "v5")]
    assert common_record(videos[:1], features, None)["sampling"] == SAMPLING
    found = common_record(videos, features, None)
    assert found["sampling"] == {"fps": None, "stride_frames": 25, "window_frames": None}


def test_features_that_tell_nothing(data):
    for path in (data / "feats").glob("*.json"):
        path.unlink()
    assert model_of(data).encoder is None


def test_a_training_has_one_encoder(data):
    change(data, encoder={**NET, "weights": {"sha256": "bb"}})
    config = small_config(data)
    text = r"v5.npy' has encoder.weights.sha256='bb', .* of '.*v0.npy' is 'aa'; extract"
    with pytest.raises(UserError, match=text):
        train(config, data / "run")
    assert "sha256='bb'" in diagnose(config).errors[0]
    config.data.any_encoder = True
    assert model_of(data, config).encoder is None


def test_a_run_and_other_features(data):
    model = model_of(data)
    (data / "run").mkdir()
    model.save(data / "run" / MODELS["average"])
    write_config(data / "run", to_plain(small_config(data)))
    assert ActionFormer.from_preset(data / "run").encoder == model.encoder
    for path in (data / "feats").glob("*.npy"):
        change(data, path.stem, encoder={"name": "nut"})
    with pytest.raises(UserError, match="'nut'.* of what the model was trained on is 'net'; ext"):
        evaluate_workdir(data / "run", "test")
    assert evaluate_workdir(data / "run", "test", any_encoder=True).num_ground_truth
    # Fine-tuning takes its embedding over, but where features have another width.
    model.save_to_preset(data / "preset")
    config = small_config(data)
    config.train.preset = str(data / "preset")
    with pytest.raises(UserError, match="'nut'.* trained on is 'net'.* with --any_encoder"):
        train(config, data / "tuned")
    assert "'nut'" in diagnose(config).errors[0]
    experiment, source = Experiment(config), ActionFormer.from_preset(data / "preset", input_dim=9)
    source.encoder = NET
    experiment.check_encoder(source, experiment.read_annotations().videos)


def test_detect_and_evaluate_ask_alike(data):
    model_of(data).save_to_preset(data / "preset")
    detect = ["detect", "--preset=preset", "--feats=feats/v4.npy,feats/v5.npy", "--top_k=1"]
    evaluate = ["evaluate", "--preset=preset", "--ground_truth=annotations.json", "--feats=feats"]
    # Seconds are right at any rate.
    change(data, fps=50.0)
    for verb in (detect, evaluate):
        done = run_here(data, *verb)
        assert done.returncode == 0, done.stderr
        assert "v5.npy' has 50 frames a second, but the model was trained on 25" in done.stderr
    change(data, encoder={"name": "nut"})
    for verb in (detect, evaluate):
        done = run_here(data, *verb)
        assert done.returncode == 2
        assert "encoder.name='nut', but encoder.name of what the model was" in done.stderr
        assert "is 'net'; extract features as those were, or go on all the" in done.stderr
        assert run_here(data, *verb, "--any_encoder").returncode == 0
