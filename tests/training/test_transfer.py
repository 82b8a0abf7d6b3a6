"""Fine-tuning: what a training takes from a preset, what is new in it, and what stays as it was."""

import json
import shutil

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from helpers.small_run import small_config, write_data
from keras_actionformer import ActionFormer, UserError, default_config
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.runs import load_model, read_config
from keras_actionformer.training import callbacks, trainer
from keras_actionformer.training.config import architecture_of, to_plain
from keras_actionformer.training.diagnosis import diagnose
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.transfer import open_preset, take_weights, with_network

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def other_data(tmp_path_factory):
    """Features of 6 channels; the class "b" is the first here, and "c" is new."""
    folder = tmp_path_factory.mktemp("other")
    write_data(folder, feats_dim=6, seed=1)
    path = folder / "annotations.json"
    text = path.read_text().replace('"label": "a", "label_id": 0', '"label": "c", "label_id": 1')
    path.write_text(text.replace('"label": "b", "label_id": 1', '"label": "b", "label_id": 0'))
    return folder


@pytest.fixture(scope="module")
def preset(data, tmp_path_factory):
    """A preset of classes "a" and "b" with the network of `small_config`, but its own numbers."""
    folder = tmp_path_factory.mktemp("presets") / "small"
    model = Experiment(small_config(data)).build_model(
        Experiment(small_config(data)).read_annotations()
    )
    rng = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(to_numpy(variable) + rng.uniform(0.05, 0.2, variable.shape))
    model.save_to_preset(folder)
    return folder


def other_config(folder, preset):
    config = small_config(folder)
    config.model.input_dim = 6
    config.train.preset = str(preset)
    return config


def weights(model):
    return {variable.path: to_numpy(variable) for variable in model.network_weights}


def start(config):
    """The model that a training begins with, a fresh one of the same seed, and `NewWeights`."""
    opened, source = open_preset(config)
    models = []
    for _ in range(2):
        keras.utils.set_random_seed(config.seed)
        experiment = Experiment(opened)
        models.append(experiment.build_model(experiment.read_annotations()))
    return *models, take_weights(models[0], source, opened, config)


# === What is taken, and what is new ===


def test_the_same_data_takes_everything_but_the_loss_normalizer(data, preset, capsys):
    config = small_config(data)
    config.train.preset = str(preset)
    model, _, new = start(config)
    source = weights(ActionFormer.from_preset(preset))
    for path, value in weights(model).items():
        np.testing.assert_array_equal(value, source[path], err_msg=path)
    assert not new and to_numpy(model.positives_average.value) == 10
    assert capsys.readouterr().out == f"Starting from the weights of '{preset}'.\n"


def test_other_features_and_classes_leave_the_embedding_and_unknown_classes_new(
    other_data, preset, capsys
):
    model, fresh, new = start(other_config(other_data, preset))
    source, begun, ours = weights(ActionFormer.from_preset(preset)), weights(fresh), weights(model)
    assert model.class_names == ("b", "c")
    for path, value in ours.items():
        if path == "backbone/embd_0/kernel":
            assert value.shape[1] == 6
            np.testing.assert_array_equal(value, begun[path])
        elif path.startswith("heads/cls_head/out/"):
            np.testing.assert_array_equal(value[..., 0], source[path][..., 1])  # "b"
            np.testing.assert_array_equal(value[..., 1], begun[path][..., 1])  # "c"
        else:
            np.testing.assert_array_equal(value, source[path], err_msg=path)
    assert [sorted(part.paths) for part in new] == [
        ["backbone/embd_0/kernel"],
        ["heads/cls_head/out/bias", "heads/cls_head/out/kernel"],
    ]
    assert capsys.readouterr().out.splitlines()[1:] == [
        "The embedding is new: the features have 6 channels, those of the preset 4.",
        "The last layer of the classification head is new for 1 of 2 classes, ['c']: the preset "
        "knows ['a', 'b'].",
    ]


def test_a_preset_that_names_no_classes_gives_none(data, preset, tmp_path, capsys):
    shutil.copytree(preset, tmp_path / "nameless")
    path = tmp_path / "nameless" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "class_names": []}))
    config = small_config(data)
    config.train.preset = str(tmp_path / "nameless")
    model, fresh, _ = start(config)
    path = "heads/cls_head/out/kernel"
    np.testing.assert_array_equal(weights(model)[path], weights(fresh)[path])
    assert "new for all classes: the preset does not name its classes." in capsys.readouterr().out


# === The network ===


def test_the_network_is_the_presets_and_the_training_is_ones_own(data, preset, capsys):
    config = small_config(data)
    config.train.preset = str(preset)
    config.model.backbone_arch = (2, 1, 3)
    config.model.embd_dim = config.model.fpn_dim = 16
    config.model.regression_range = ((0, 2), (1, 4), (2, 8), (4, 16))
    config.model.droppath = 0.3
    config.model.max_seq_len = 64
    before = to_plain(config)
    opened, _ = open_preset(config)
    assert to_plain(config) == before
    assert opened.model.backbone_arch == (1, 0, 1) and opened.model.embd_dim == 8
    assert opened.model.regression_range == ((0, 4), (4, 10000))
    assert opened.model.droppath == 0.3 and opened.model.max_seq_len == 64
    start(config)
    assert (
        "The network is that of the preset: model.backbone_arch=(1, 0, 1) (not (2, 1, 3)), "
        "model.embd_dim=8 (not 16), model.fpn_dim=8 (not 16), "
    ) in capsys.readouterr().out


@pytest.mark.parametrize(
    "ours, theirs, expected",
    [
        ((5, 16), (7, 8), 8),
        (((3, 2), (8, 8)), ((7, 1), (2, 6)), (2, 6)),  # as many streams: their widths are known
        ((5, 16), ((7, 1), (2, 6)), 8),
        (((3, 2), (6, 2)), (7, 8), (6, 2)),
    ],
)
def test_streams_share_the_width_of_the_network(ours, theirs, expected):
    def widths(input_dim, embd_dim):
        total = embd_dim if isinstance(embd_dim, int) else sum(embd_dim)
        return dict(input_dim=input_dim, embd_dim=embd_dim, fpn_dim=total, num_classes=2)

    config = default_config()
    config.model.update(widths(*ours))
    assert (
        architecture_of(with_network(config, Architecture(**widths(*theirs)))).embd_dim == expected
    )


def test_streams_that_do_not_add_up_are_told(data, preset):
    config = small_config(data)
    config.train.preset = str(preset)
    config.model.input_dim, config.model.embd_dim = (2, 2), (8, 8)
    config.model.fpn_dim = 16
    with pytest.raises(UserError, match=r"model.embd_dim is \[8, 8\].* is 8 wide: set it to 2"):
        open_preset(config)


def test_every_stream_of_another_width_has_a_new_projection(tmp_path):
    settings = dict(embd_dim=(4, 4), backbone_arch=(1, 0, 1), fpn_dim=8, head_dim=8, n_head=2)
    source = ActionFormer((3, 2), 2, class_names=("a", "b"), **settings)
    source.save_to_preset(tmp_path / "streams")
    model = ActionFormer.from_preset(tmp_path / "streams", input_dim=(3, 5))
    ours, theirs = weights(model), weights(source)
    changed = {path for path in theirs if not np.array_equal(ours[path], theirs[path])}
    assert changed == {"backbone/proj_1/kernel"} and ours["backbone/proj_1/kernel"].shape[1] == 5
    one = ActionFormer.from_preset(tmp_path / "streams", input_dim=8, embd_dim=8)
    changed = {
        path for path in weights(one) if not np.array_equal(weights(one)[path], theirs[path])
    }
    assert changed == {"backbone/embd_0/kernel"}


def test_a_preset_that_is_none_stops_before_anything_is_written(data, tmp_path):
    config = small_config(data)
    with pytest.raises(UserError, match="There is no preset 'simulatd'.*did you mean 'simulated'"):
        trainer.train(config, tmp_path / "run", preset="simulatd")
    assert config.train.preset == "" and not (tmp_path / "run").exists()


def test_inspect_counts_the_levels_of_the_preset(data, preset):
    config = small_config(data)
    config.model.backbone_arch = (1, 0, 4)
    config.train.preset = str(preset)
    assert [level["stride"] for level in diagnose(config).statistics["pyramid"]["levels"]] == [1, 2]
    config.train.preset = "nowhere"
    assert "There is no preset 'nowhere'" in str(diagnose(config))


# === Runs ===


class _Stop(Exception):
    pass


def test_a_run_says_what_it_started_from_and_resumes_without_being_told(
    run_eagerly, other_data, preset, tmp_path, monkeypatch
):
    config = other_config(other_data, preset)
    config.train.epochs = 1
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 16
    trainer.train(config, tmp_path / "whole")
    ran = read_config(tmp_path / "whole", {})
    assert ran["train"]["preset"] == str(preset) and ran["model"]["embd_dim"] == 8

    def stop(self, epoch, logs=None):
        if epochs.append(epoch) or len(epochs) == stop_at:
            raise _Stop
        original(self, epoch, logs)

    original, config.train.preset = callbacks.RunWriter.on_epoch_end, ""
    for stop_at, name in ((1, str(preset)), (2, None)):  # in the first epoch, and after it
        epochs = []
        with monkeypatch.context() as patch, pytest.raises(_Stop):
            patch.setattr(callbacks.RunWriter, "on_epoch_end", stop)
            trainer.train(config, tmp_path / "run", resume=True, preset=name)
    shutil.move(preset, tmp_path / "away")  # the run's own files are all that it needs
    try:
        model = trainer.train(config, tmp_path / "run", resume=True)
    finally:
        shutil.move(tmp_path / "away", preset)
    expected = weights(load_model(tmp_path / "whole", ActionFormer))
    for path, value in weights(model).items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)
    with pytest.raises(UserError, match=r"train.preset='.*small', but the configuration now says"):
        trainer.train(config, tmp_path / "run", resume=True, preset="simulated")


# === Frozen parts ===


@pytest.mark.parametrize(
    "names, paths",
    [
        (("backbone",), ("backbone/",)),
        (("embedding", "branch:1", "reg_head"), (
            "backbone/embd_", "backbone/branch_0/", "heads/reg_head/", "heads/scale")),
        (("stem", "branch:2", "neck"), ("backbone/stem_", "backbone/branch_", "neck/")),
    ],
)  # fmt: skip
def test_frozen_parts_stay_bit_for_bit_and_all_others_learn(
    run_eagerly, data, tmp_path, capsys, names, paths
):
    config = small_config(data)
    config.train.epochs = 1
    config.model.backbone_arch = (1, 1, 2)
    config.model.fpn_type = "fpn"
    keras.utils.set_random_seed(5)
    experiment = Experiment(config)
    source = experiment.build_model(experiment.read_annotations())
    source.save_to_preset(tmp_path / "preset")
    config.train.freeze = names
    model = trainer.train(config, tmp_path / "run", preset=tmp_path / "preset")
    with np.load(tmp_path / "run" / "checkpoint.npz") as file:
        last = {name.split(maxsplit=1)[1]: file[name] for name in file.files if " " in name}
    before, averaged, frozen = weights(source), weights(model), 0
    for path, value in before.items():
        stays = path.startswith(paths)
        frozen += value.size * stays
        assert np.array_equal(averaged[path], value) == stays, path
        assert np.array_equal(last[path], value) == stays, path
    total = sum(value.size for value in before.values())
    told = f"Frozen: {', '.join(names)}, {frozen:,} of {total:,} numbers of the network.\n"
    assert told in capsys.readouterr().out


def test_a_frozen_run_resumes_bit_for_bit(run_eagerly, data, preset, tmp_path, monkeypatch):
    config = small_config(data)
    config.train.epochs = 1
    config.train.freeze = ("backbone", "neck")
    trainer.train(config, tmp_path / "whole", preset=preset)
    original = callbacks.RunWriter.on_epoch_end

    def stop_after_first(self, epoch, logs=None):
        original(self, epoch, logs)
        raise _Stop

    with monkeypatch.context() as patch, pytest.raises(_Stop):
        patch.setattr(callbacks.RunWriter, "on_epoch_end", stop_after_first)
        trainer.train(config, tmp_path / "run", preset=preset)
    trainer.train(config, tmp_path / "run", resume=True)
    with (
        np.load(tmp_path / "run" / "checkpoint.npz") as ours,
        np.load(tmp_path / "whole" / "checkpoint.npz") as theirs,
    ):
        assert ours.files == theirs.files
        for name in set(ours.files) - {"log"}:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.parametrize(
    "names, message",
    [
        (("backbon",), r"names 'backbon', which is no part .* did you mean 'backbone'"),
        (("levels",), r"there are embedding, stem, branch, backbone, neck, cls_head, reg_head"),
        (("neck:2",), r"a number of blocks follows stem or branch alone, as in 'branch:2'"),
        (("branch:0",), r"a number of blocks follows"),
        (("stem",), r"names 'stem', of which this network has nothing: leave it out"),
        (("backbone", "neck", "heads"), r"leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_told(data, preset, tmp_path, names, message):
    config = small_config(data)
    config.train.freeze = names
    with pytest.raises(UserError, match=message):
        trainer.train(config, tmp_path / "run", preset=preset)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, message",
    [
        ("backbone", r"embedding is new.*stay random.*'backbone': name 'branch' instead"),
        ("embedding", r"names 'embedding': leave it out"),
        ("heads", r"classification head is new for 1 of 2.*'heads': name 'reg_head' instead"),
    ],
)
def test_what_is_new_cannot_be_frozen(other_data, preset, tmp_path, name, message):
    config = other_config(other_data, preset)
    config.train.freeze = (name,)
    with pytest.raises(UserError, match=message):
        trainer.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_random_weights_cannot_be_frozen(data, tmp_path):
    config = small_config(data)
    config.train.freeze = ("backbone",)
    with pytest.raises(UserError, match="would keep random weights.*set train.preset"):
        trainer.train(config, tmp_path / "run")
