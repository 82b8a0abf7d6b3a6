"""Every configuration file: it loads, fits the data it names, trains a step and detects."""

import dataclasses
import math
import pathlib
import re

import keras
import numpy as np
import pytest

from helpers.published_facts import FACTS, OPENTAD_ALONE, differences, levels
from helpers.reference_parameters import reference_parameters
from keras_actionformer.data.annotation_files import save_annotations
from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.data.batches import train_dataset
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.datasets.published import PUBLISHED
from keras_actionformer.presets.builtin import ARCHITECTURES
from keras_actionformer.training import run_scores, trainer
from keras_actionformer.training.config import check_config
from keras_actionformer.training.config_files import load_config
from keras_actionformer.training.epochs import num_epochs
from keras_actionformer.training.experiment import Experiment

CONFIGS = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("*.py"))
NAMES = [path.stem for path in CONFIGS]
# Their data comes from elsewhere than the table of published data sets.
OWN_DATA = ("ablations", "custom", "hapt", "hapt_best", "simulated")
# One of each kind: padded and resized, one class and many, one stream and three.
REPRESENTATIVES = [
    "anet_tsp", "ego4d_slowfast_omnivore_egovlp", "fineaction_videomae_h", "thumos14_i3d_strong",
]  # fmt: skip

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


def config_of(name):
    return load_config(CONFIGS[NAMES.index(name)])


def text_of(name):
    return CONFIGS[NAMES.index(name)].read_text(encoding="utf-8").split('"""')[1]


def told_by(name):
    """The first lines of a configuration and of those that they name, in single spaces."""
    text = " ".join(text_of(name).split())
    named = set(re.findall(r"`configs/(\w+)\.py`", text)) - {name}
    return " ".join([text, *map(told_by, sorted(named))])


def settings_of(config):
    """All settings by their names, of which no two sections have the same.

    Ranges of regression that are left to the network are written out.
    """
    model = config.model
    if model.regression_range is None:
        model.regression_range = levels(model.backbone_arch[2] + 1)["regression_range"]
    settings = {"tiou_thresholds": config.tiou_thresholds}
    for section in (config.data, model, config.postprocess, config.fusion, config.train):
        assert not settings.keys() & section.keys()
        settings.update(section)
    return settings


def feature_folders(config):
    feats = config.data.feats
    return [feats] if isinstance(feats, str) else list(feats)


def write_data(folder, config, num_videos, num_steps):
    """Writes data of a configuration's shapes below `folder`, and points the configuration to it.

    Every video has an action of 0.3 and one of 0.05 of its length; one more video is for the
    evaluation.
    """
    rng = np.random.default_rng(0)
    data = config.data
    # Of features that are resized, no configuration tells the timing.
    stride_frames = data.stride_frames or 8.0
    window_frames = 1.0 if data.window_frames == "auto" else data.window_frames
    fps = data.fps or 25.0
    grid = FeatureGrid(fps, stride_frames, window_frames)
    duration = float(grid.to_sec(num_steps - 0.5)) + window_frames / 2 / fps
    num_classes = 4 if config.fusion.video_scores else config.model.num_classes
    videos = []
    for i in range(num_videos + 1):
        subset = data.eval_subset if i == num_videos else data.train_subset
        segments = np.array([[0.1, 0.4], [0.6, 0.65]]) * duration
        labels = np.array([0, num_classes - 1])
        videos.append(Video(f"video_{i}", subset, duration, fps, segments, labels))
    names = tuple(f"class {i}" for i in range(num_classes))
    data.annotations = str(folder / "annotations.json")
    save_annotations(data.annotations, Annotations(tuple(videos), names))
    widths = config.model.input_dim
    folders = feature_folders(config)
    if isinstance(widths, int):  # streams in one projection
        widths = [widths // len(folders)] * (len(folders) - 1)
        widths.append(config.model.input_dim - sum(widths))
    data.feats = tuple(str(folder / f"feats_{i}") for i in range(len(folders)))
    for path, width in zip(map(pathlib.Path, data.feats), widths, strict=True):
        path.mkdir()
        for video in videos:
            feats = rng.standard_normal((num_steps, width), np.float32)
            file = path / f"{data.prefix}{video.video_id}{data.suffix}"
            np.savez(file, feats=feats) if data.suffix == ".npz" else np.save(file, feats)
    if config.fusion.video_scores:
        config.fusion.video_scores = str(folder / "video_scores.csv")
        rows = [f"{v.video_id},{','.join(map(str, rng.random(num_classes)))}" for v in videos]
        header = f"video,{','.join(names)}"
        (folder / "video_scores.csv").write_text("\n".join([header, *rows]))
    if data.blocked_videos:
        data.blocked_videos = str(folder / "blocked.json")
        (folder / "blocked.json").write_text('["another"]')
    check_config(config)


def narrow(config):
    """The configuration with a network of 48 channels, of the depth it has."""
    streams = config.model.input_dim
    config.model.embd_dim = 48 if isinstance(streams, int) else [48 // len(streams)] * len(streams)
    config.model.fpn_dim = config.model.head_dim = 48
    config.postprocess.max_seg_num = 50
    return config


def test_all_built_in_architectures_have_a_configuration():
    assert set(ARCHITECTURES) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_first_lines_tell_how_to_run_it_and_what_comes_out(name):
    text = text_of(name)
    config = "mine.py" if name == "custom" else name  # of which one makes a copy
    assert f"keras-actionformer train --config={config} --workdir=runs/" in text
    score = r"Measured on|Published by .*, not\s+measured here:|Published score: none"
    assert re.search(score, text) or name == "custom"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_configurations_have_the_built_in_architecture(name):
    config, built_in = config_of(name), ARCHITECTURES[name]
    for section, expected in (("model", built_in.model), ("postprocess", built_in.postprocess)):
        ours = config[section].to_dict()
        assert {key: ours[key] for key in expected} == expected
    for key, value in (built_in.grid or {}).items():
        assert config.data[key] == value
    numbers = [f"{value:.2f}" for value in built_in.scores.values()]
    # The text has them in this order.
    assert re.search(r"\b[\s\S]*\b".join(map(re.escape, numbers)), text_of(name))


def test_the_published_facts_are_those_of_all_benchmarks():
    assert sorted([*FACTS, *OWN_DATA]) == NAMES


@pytest.mark.parametrize("name", FACTS)
def test_settings_are_those_of_the_source(name):
    ours, facts = settings_of(config_of(name)), FACTS[name]
    assert facts.settings.keys() <= ours.keys()
    assert not differences(ours, facts), facts.source


@pytest.mark.parametrize("name", [name for name in FACTS if FACTS[name].num_parameters])
def test_the_network_has_the_parameters_of_the_source(name):
    shapes = reference_parameters(config_of(name).model.to_dict())
    assert sum(map(math.prod, shapes.values())) == FACTS[name].num_parameters


@pytest.mark.parametrize("name", FACTS)
def test_first_lines_tell_the_scores_of_the_source(name):
    _, _, published = text_of(name).partition("Published")
    numbers = [f"{score:.2f}" for score in FACTS[name].scores]
    # The text has them in this order.
    assert re.search(r"\b[\s\S]*\b".join(map(re.escape, numbers)), published)


@pytest.mark.parametrize("name", FACTS)
def test_a_training_has_the_epochs_of_the_published_model(name):
    train = config_of(name).train
    assert num_epochs(train) == FACTS[name].num_epochs
    in_schedule = train.warmup_epochs + train.epochs
    if FACTS[name].num_epochs < in_schedule:
        assert f"after {FACTS[name].num_epochs} of the {in_schedule} epochs" in told_by(name)
    else:
        assert not re.search(r"\d of the \d+ epochs", text_of(name))


@pytest.mark.parametrize("difference", OPENTAD_ALONE)
def test_first_lines_tell_what_opentad_does_otherwise(difference):
    silent = [name for name in OPENTAD_ALONE[difference] if difference not in told_by(name)]
    assert not silent


@pytest.mark.parametrize(
    "name, epochs, learning_rate, batch_size, trunc_thresh, num_levels, tiou",
    [
        ("thumos14_i3d", 30, 1e-4, 2, 0.5, 6, (0.3, 0.7, 5)),
        ("anet_tsp", 10, 1e-3, 16, 0.5, 6, (0.5, 0.95, 10)),
        ("anet_i3d", 10, 1e-3, 16, 0.5, 6, (0.5, 0.95, 10)),
        ("epic_slowfast_verb", 16, 1e-4, 2, 0.3, 6, (0.1, 0.5, 5)),
        ("epic_slowfast_noun", 16, 1e-4, 2, 0.3, 6, (0.1, 0.5, 5)),
        ("ego4d_slowfast", 10, 1e-4, 2, 0.3, 7, (0.1, 0.5, 5)),
        ("ego4d_omnivore_egovlp", 10, 1e-4, 2, 0.3, 8, (0.1, 0.5, 5)),
        ("ego4d_slowfast_omnivore_egovlp", 10, 1e-4, 2, 0.3, 8, (0.1, 0.5, 5)),
    ],
)
def test_training_settings_of_the_reference(
    name, epochs, learning_rate, batch_size, trunc_thresh, num_levels, tiou
):
    config = config_of(name)
    assert (config.train.epochs, config.train.warmup_epochs) == (epochs, 5)
    assert (config.train.learning_rate, config.train.batch_size) == (learning_rate, batch_size)
    assert (config.train.weight_decay, config.train.clip_norm) == (0.05, 1.0)
    assert (config.data.trunc_thresh, config.data.crop_ratio) == (trunc_thresh, (0.9, 1.0))
    assert config.model.backbone_arch[2] + 1 == num_levels
    np.testing.assert_allclose(config.tiou_thresholds, np.linspace(*tiou))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in OWN_DATA])
def test_prepare_writes_what_a_configuration_names(name):
    command = r"keras-actionformer prepare --dataset=(\w+) --from=\S+\s+(?:\\\s+)?--to=(\S+)"
    told = re.search(command, text_of(name))
    dataset, folder = PUBLISHED[told[1]], pathlib.PurePosixPath(told[2])
    config = config_of(name)
    annotations = pathlib.PurePosixPath(config.data.annotations)
    assert annotations.parent == folder and annotations.name in dataset.annotations
    kinds = {str(folder / kind.target): kind for kind in dataset.features}
    used = [kinds[path] for path in feature_folders(config)]
    for kind in used:
        assert annotations.name in kind.annotations
        assert (kind.prefix, kind.suffix) == (config.data.prefix, config.data.suffix)
    channels = sum(kind.first_channels or kind.channels for kind in used)
    assert channels == np.sum(config.model.input_dim)
    assert config.fusion.video_scores == (
        str(folder / "video_scores.json") if dataset.video_scores else ""
    )
    assert config.data.blocked_videos in ("", str(folder / str(dataset.blocked_videos)))


@tensorflow_only
@pytest.mark.parametrize(
    "name",
    [*(pytest.param(x, marks=pytest.mark.slow) for x in REPRESENTATIVES[:-1]), REPRESENTATIVES[-1]],
)
def test_a_narrow_network_trains_and_is_scored(run_eagerly, tmp_path, name):
    config = narrow(config_of(name))
    config.train.epochs, config.train.warmup_epochs, config.train.batch_size = 1, 0, 2
    write_data(tmp_path, config, num_videos=2, num_steps=150)
    trainer.train(config, tmp_path / "run")
    result = run_scores.evaluate_workdir(tmp_path / "run")
    assert np.isfinite(result.average_mean_ap)
    # With video scores those of the file, otherwise those of the model.
    num_classes = 4 if config.fusion.video_scores else config.model.num_classes
    assert set(result.class_names) <= {f"class {i}" for i in range(num_classes)}


def slow_and_exhaustive():
    """All configurations, of which the representatives are slow, and the rest more of the same."""
    for name in NAMES:
        mark = pytest.mark.slow if name in REPRESENTATIVES else pytest.mark.exhaustive
        yield pytest.param(name, marks=mark)


@tensorflow_only
@pytest.mark.parametrize("name", list(slow_and_exhaustive()))
def test_the_network_trains_a_step_and_detects(run_eagerly, tmp_path, name):
    """At full width and depth, with one short video a batch."""
    config = config_of(name)
    config.model.max_seq_len = min(config.model.max_seq_len, 576)
    config.postprocess.max_seg_num = 50
    write_data(tmp_path, config, num_videos=1, num_steps=config.model.max_seq_len // 2)
    annotations = Experiment(config).read_annotations()
    model = Experiment(config).build_model(annotations)
    model.compile(Experiment(config).make_optimizer(batches_per_epoch=1), jit_compile=False)
    batches = train_dataset(
        annotations.subset(config.data.train_subset),
        Experiment(config).features,
        Experiment(config).timing,
        dataclasses.replace(Experiment(config).lengths, window_steps=None),
        batch_size=1,
    )
    history = model.fit(batches, verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()
    if name in FACTS and FACTS[name].num_parameters:
        numbers = sum(int(np.prod(variable.shape)) for variable in model.network_weights)
        assert numbers == FACTS[name].num_parameters
    found = run_scores.detect_subset(model, config, annotations.subset(config.data.eval_subset))
    assert list(found) == ["video_1"]
    keras.backend.clear_session()
