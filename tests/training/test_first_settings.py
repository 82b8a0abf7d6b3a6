"""Settings that follow from the data, the configuration that holds them, and what is warned of."""

import numpy as np
import pytest

from helpers.small_run import small_config, write_data
from keras_actionformer import default_config, load_config
from keras_actionformer.data.annotations import Annotations, Video
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.training.config import check_config
from keras_actionformer.training.diagnosis import diagnose
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.first_config import config_text
from keras_actionformer.training.first_settings import VideoSteps, first_settings
from keras_actionformer.training.pyramid import Pyramid, count_points
from keras_actionformer.training.settings_warnings import settings_warnings

GRID = FeatureGrid(50.0, 25.0, 50.0)


def sequences_of(num_videos, actions_per_video, length_sec, num_steps=400):
    rng = np.random.default_rng(0)
    found = []
    for i in range(num_videos):
        start = np.sort(rng.uniform(0, num_steps * 0.5 - length_sec, actions_per_video))
        segments = np.stack([start, start + length_sec], axis=1)
        labels = np.arange(actions_per_video) % 2
        video = Video(f"v{i}", "training", num_steps * 0.5, 50.0, segments, labels)
        found.append(VideoSteps(video, GRID, num_steps))
    return found


@pytest.mark.parametrize("num_videos", [1, 2, 3, 10, 60, 1000])
@pytest.mark.parametrize("length_sec", [0.6, 5, 100])
def test_what_must_hold_for_any_data(num_videos, length_sec):
    sequences = sequences_of(num_videos, 4, length_sec)
    found = first_settings(sequences)
    # There is a batch, an epoch has enough of them, and a training, too.
    steps = num_videos * found.repeats // found.batch_size
    assert steps >= 12 and (found.warmup_epochs + found.epochs) * steps >= 400
    # Every action is learnt, and random windows seldom cut one.
    pyramid = _pyramid(found)
    for video, grid, num_steps in sequences:
        points = count_points(grid.to_grid(video.segments_sec), num_steps, pyramid)
        assert points.any(axis=1).all()
    assert found.max_seq_len >= min(400, 2 * length_sec / GRID.step_sec)


def _pyramid(settings):
    levels = len(settings.regression_range)
    strides = tuple(2**level for level in range(levels))
    return Pyramid(settings.max_seq_len, strides, settings.regression_range)


def test_networks_are_as_wide_as_there_is_data():
    counts = (19, 20, 299, 300, 999, 1000)
    widths = [first_settings(sequences_of(n, 10, 5)).width for n in counts]
    assert widths == [64, 128, 128, 256, 256, 512]


def test_long_videos_are_seen_through_windows():
    assert first_settings(sequences_of(3, 4, 5, num_steps=20_000)).max_seq_len == 1152
    assert first_settings(sequences_of(3, 1, 1000, num_steps=20_000)).max_seq_len >= 4000


def test_the_loss_begins_where_the_data_has_it():
    """The normalizer starts at the points that a batch really has."""
    sequences = sequences_of(10, 4, 5)
    found = first_settings(sequences)
    points = [
        count_points(s.grid.to_grid(s.video.segments_sec), s.num_steps, _pyramid(found)).sum()
        for s in sequences
    ]
    assert found.init_loss_norm == pytest.approx(found.batch_size * np.mean(points), abs=0.1)


# --- the file ------------------------------------------------------------------------------------

DATA = {
    "annotations": 'my "table".csv',
    "time_unit": "",
    "feats": "feats",
    "prefix": "",
    "suffix": ".npy",
    "split": "",
    "default_subset": "",
    "train_subset": "training",
    "val_subset": "",
    "eval_subset": "training",
    "fps": 50.0,
    "stride_frames": 25.0,
    "window_frames": 50.0,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"feats": ("rgb", "flow"), "fps": None},
        {"split": "Ü_split.csv", "eval_subset": "test"},
        {"default_subset": "training"},
        {"time_unit": "minutes", "prefix": "cam_", "suffix": "_rgb.npz"},
    ],
)
def test_the_file_is_a_configuration(tmp_path, changes):
    sequences, data = sequences_of(6, 4, 5), {**DATA, **changes}
    annotations = Annotations(tuple(s.video for s in sequences), ("a", "b"))
    settings = first_settings(sequences)
    path = tmp_path / "mine.py"
    path.write_text(config_text(path, annotations, data, settings, 300), encoding="utf-8")
    config = load_config(path)
    for name, value in data.items():
        assert config.data[name] == value
    assert config.model.input_dim == 300 and config.model.num_classes == 2
    assert config.model.backbone_arch[2] + 1 == len(settings.regression_range)
    assert config.model.regression_range == settings.regression_range
    assert config.train.ema == "auto" and config.data.repeats == settings.repeats
    config.data.annotations = config.data.feats = str(tmp_path)
    config.data.split = ""
    check_config(config)
    assert all(len(line) <= 100 for line in path.read_text(encoding="utf-8").splitlines()[5:])


# --- warnings ------------------------------------------------------------------------------------


def warnings_of(changes=(), steps_per_epoch=20, length_sec=5.0, actions_per_video=20):
    config = default_config()
    for (section, name), value in dict(changes).items():
        config[section][name] = value
    sequences = sequences_of(3, actions_per_video, length_sec)
    pyramid = _pyramid(first_settings(sequences))
    return settings_warnings(
        config, ("a", "b"), [s.video for s in sequences], [GRID] * 3, steps_per_epoch, pyramid
    )


def test_sound_settings_are_not_warned_of():
    assert warnings_of() == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"changes": {("train", "ema"): 0.999}, "steps_per_epoch": 10}, "still be 70% the initial"),
        ({"steps_per_epoch": 1}, "has 35 steps (35 epochs of 1), too few to learn from nothing"),
        ({"changes": {("train", "warmup_epochs"): 40}}, "rises for 40 epochs and falls for 30"),
        ({"actions_per_video": 3}, "1 of 2 classes have less than 5 training actions: 'b'"),
    ],
)
def test_what_is_warned_of(options, message):
    (sentence,) = warnings_of(**options)
    assert message in sentence


def test_a_class_without_actions_is_warned_of():
    """As with model.num_classes=2 where the annotations have one."""
    sequences = sequences_of(3, 20, 5.0)
    arguments = [s.video for s in sequences], [GRID] * 3, 20, _pyramid(first_settings(sequences))
    (sentence,) = settings_warnings(default_config(), ("a", "b", "class_2"), *arguments)
    assert sentence == ("1 of 3 classes have no training action and will not be learnt: 'class_2'.")


def test_raw_samples_are_warned_of():
    """Actions of hundreds of steps want a larger stride, and leave most levels empty."""
    sequences = sequences_of(3, 20, 5)
    raw = FeatureGrid(50.0, 1.0, 1.0)
    pyramid = Architecture(input_dim=6, num_classes=2)
    videos = [s.video for s in sequences]
    found = settings_warnings(default_config(), ("a", "b"), videos, [raw] * 3, 20, pyramid)
    assert "last 250 steps of the features" in found[0]
    assert "a stride of about 32 frames instead of 1" in found[0]
    assert "5 of 6 levels learn no training action (level 0, level 1, level 2, " in found[1]


def test_training_and_inspection_say_them(tmp_path):
    write_data(tmp_path)
    config = small_config(tmp_path)
    config.train.ema = 0.999
    sentence = "The average of the weights, which is what is saved, will still be 99% the initial"
    assert any(text.startswith(sentence) for text in diagnose(config).warnings)
    experiment = Experiment(config)
    annotations = experiment.read_annotations()
    videos = experiment.training_videos(annotations)
    found = experiment.settings_warnings(annotations, videos, experiment.count_batches(videos))
    assert found[0].startswith(sentence)


# --- repeats -------------------------------------------------------------------------------------


def test_an_epoch_has_every_video_so_often(tmp_path):
    write_data(tmp_path)
    config = small_config(tmp_path)
    experiment = Experiment(config)
    videos = experiment.training_videos(experiment.read_annotations())
    assert experiment.count_batches(videos) == 2  # of two, of four videos
    config.data.repeats = 3
    experiment = Experiment(config)
    assert experiment.count_batches(videos) == 6
    batches = list(experiment.training_stream(videos, range(1)))
    assert len(batches) == 6
    # Cut at random, so that no two are equal, but each is one of four videos.
    actions = [tuple(row[row >= 0].tolist()) for _, y in batches for row in y["labels"].numpy()]
    assert len(actions) == 12 and len(set(actions)) <= 8
