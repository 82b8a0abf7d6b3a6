"""ActivityNet's protocol: a model of one class, video scores, and a score by class."""

import json

import keras
import numpy as np
import pytest

from helpers.programs import run_here
from helpers.small_run import eagerly, small_config, write_data
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.detection.detections import load_detections, save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.model import ActionFormer
from keras_actionformer.presets.runs import load_model
from keras_actionformer.training import run_scores, trainer
from keras_actionformer.training.config import run_config

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training pipelines are TensorFlow's"
)


def one_class_config(folder):
    config = small_config(folder)
    config.data.class_agnostic = True
    config.data.drop_duplicates = True
    config.model.num_classes = 1
    config.model.force_upsampling = True
    config.train.epochs, config.train.warmup_epochs = 1, 0
    config.fusion.video_scores = str(folder / "video_scores.json")
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data of two classes and their video scores, a run on it, and its unfused detections."""
    folder = tmp_path_factory.mktemp("one_class")
    write_data(folder)
    scores = {f"v{i}": [0.9, 0.04, 0.36] for i in range(6)}
    scores = {"results": scores, "class": ["b", "other", "a"]}
    (folder / "video_scores.json").write_text(json.dumps(scores))
    config = one_class_config(folder)
    with eagerly():
        model = trainer.train(config, folder / "run")
    videos = load_annotations(config.data.annotations).subset("test")
    save_detections(folder / "raw.json", run_scores.detect_subset(model, config, videos))
    return folder


def by_hand(folder, num_pred=200, topk=2):
    annotations = load_annotations(folder / "annotations.json")
    video_scores = load_video_scores(folder / "video_scores.json", annotations.class_names)
    fused = fuse_videos(load_detections(folder / "raw.json"), video_scores, num_pred, topk)
    return evaluate(annotations.subset("test"), fused, class_names=annotations.class_names), fused


def test_the_model_has_one_class_and_the_score_those_of_the_data(folder):
    assert load_model(folder / "run", ActionFormer).class_names == ("action",)
    assert load_detections(folder / "raw.json")["v4"].class_names == ("action",)
    result = run_scores.evaluate_workdir(folder / "run")
    assert result.class_names == ("a", "b")
    expected, fused = by_hand(folder)
    assert result.to_dict() == expected.to_dict()
    # Every segment, for the two best of the three classes; the score is a geometric mean.
    written = load_detections(folder / "run" / "detections.json")["v4"]
    raw = load_detections(folder / "raw.json")["v4"]
    assert len(written) == 2 * len(raw) and set(written.names) == {"a", "b"}
    np.testing.assert_allclose(written.scores.max(), np.sqrt(0.9 * raw.scores.max()), rtol=1e-6)
    assert len(fused["v4"]) == len(written)


def test_settings_of_the_fusion_count(folder, monkeypatch):
    config = run_config(folder / "run")
    config["fusion"]["topk"] = 1
    monkeypatch.setattr(run_scores, "run_config", lambda workdir: config)
    result = run_scores.evaluate_workdir(folder / "run")
    assert result.to_dict() == by_hand(folder, topk=1)[0].to_dict()


def test_without_video_scores_one_class_is_scored(folder, monkeypatch):
    config = run_config(folder / "run")
    config["fusion"]["video_scores"] = ""
    monkeypatch.setattr(run_scores, "run_config", lambda workdir: config)
    assert run_scores.evaluate_workdir(folder / "run").class_names == ("action",)


def test_missing_video_scores_are_told_before_a_training(folder):
    config = one_class_config(folder)
    run_scores.check_evaluation(config)
    config.fusion.video_scores = str(folder / "no.json")
    with pytest.raises(UserError, match=r"no\.json' does not exist"):
        run_scores.check_evaluation(config)


def test_programs(folder, tmp_path):
    scores, truth = folder / "video_scores.json", folder / "annotations.json"
    common = ("evaluate", f"--ground_truth={truth}", f"--video_scores={scores}")
    done = run_here(tmp_path, *common, f"--detections={folder / 'raw.json'}", "--output=a.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.json").read_text()) == by_hand(folder)[0].to_dict()
    model = load_model(folder / "run", ActionFormer)
    model.save_to_preset(tmp_path / "preset")
    done = run_here(
        tmp_path, *common, "--preset=preset", f"--feats={folder / 'feats'}",
        "--output=b.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b.json").read_text() == (tmp_path / "a.json").read_text()
    done = run_here(
        tmp_path, "detect", f"--workdir={folder / 'run'}", f"--feats={folder / 'feats' / 'v4.npy'}",
        f"--video_scores={scores}", "--top_k=7", "--output=c.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, fused = load_detections(tmp_path / "c.json")["v4"], by_hand(folder)[1]["v4"]
    np.testing.assert_allclose(found.scores, fused.top_k(7).scores, rtol=1e-5)
    assert found.names == fused.top_k(7).names


def test_settings_of_the_fusion_as_options(folder, tmp_path):
    done = run_here(
        tmp_path, "evaluate", f"--ground_truth={folder / 'annotations.json'}",
        f"--video_scores={folder / 'video_scores.json'}", f"--detections={folder / 'raw.json'}",
        "--config.fusion.num_pred=3", "--config.fusion.topk=1", "--output=a.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = by_hand(folder, num_pred=3, topk=1)[0].to_dict()
    assert json.loads((tmp_path / "a.json").read_text()) == expected
    assert expected != by_hand(folder)[0].to_dict()
    assert done.stdout.startswith("Changed: fusion.num_pred 200 -> 3, fusion.topk 2 -> 1.\n")
    (tmp_path / "a.json").unlink()
    done = run_here(
        tmp_path, "evaluate", f"--workdir={folder / 'run'}", "--config.fusion.num_pred=3",
        "--config.fusion.topk=1", "--output=a.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["mean_ap"] == pytest.approx(expected["mean_ap"])


def test_a_preset_of_several_streams(folder, tmp_path):
    for name, channels in (("rgb", slice(0, 1)), ("flow", slice(1, None))):
        (tmp_path / name).mkdir()
        for path in (folder / "feats").iterdir():
            np.save(tmp_path / name / path.name, np.load(path)[:, channels])
    load_model(folder / "run", ActionFormer).save_to_preset(tmp_path / "preset")
    done = run_here(
        tmp_path, "evaluate", f"--ground_truth={folder / 'annotations.json'}",
        f"--video_scores={folder / 'video_scores.json'}", "--preset=preset",
        "--feats=rgb,flow", "--output=a.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.json").read_text()) == by_hand(folder)[0].to_dict()
