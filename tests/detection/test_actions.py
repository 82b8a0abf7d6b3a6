"""Verbs and nouns joined to actions: by hand, against NumPy, and with the programs."""

import json
import re
import types

import numpy as np
import pytest
from keras import ops

from helpers.models import CHANNELS, small_model, to_numpy
from helpers.programs import run_here
from keras_actionformer import (
    Annotations,
    Ensemble,
    PostProcess,
    UserError,
    VerbNounModel,
    Video,
    save_annotations,
)
from keras_actionformer.detection.actions import PairDecoder, official_ids

FEATS = np.random.default_rng(1).normal(size=(90, CHANNELS)).astype("float32")
NUM_NOUNS = 13  # more than a point offers
EVERYTHING = PostProcess(nms_method="none", pre_nms_topk=100_000, pre_nms_thresh=0.3)


def nouns_model(**changes):
    names = tuple(f"noun {i}" for i in range(NUM_NOUNS))
    return small_model(
        **{"num_classes": NUM_NOUNS, "class_names": names, "thresholds": None, **changes}
    )


def test_pairs_of_two_points_by_hand():
    # Two verbs, three nouns; level 0 has two points, at steps 0 and 1, and level 1 has one, at 0.
    scores = np.array(
        [
            [0.81, 0.04, 0.64, 0.25, 0.01],  # verbs, then nouns
            [0.09, 0.36, 0.16, 0.49, 0.04],
            [0.01, 0.01, 0.01, 0.01, 0.01],
        ]
    )
    logits = np.log(scores / (1 - scores)).astype("float32")[None]
    offsets = np.array([[[1.0, 2.0], [0.5, 3.0], [1.0, 1.0]]], "float32")  # means of both
    settings = PostProcess(pre_nms_thresh=0.2, pre_nms_topk=4)
    decoder = PairDecoder(
        2, 3, strides=(1, 2), regression_range=((0, 4), (4, 10000)), settings=settings
    )
    mask = np.ones((1, 2), bool)
    segments, found, labels, valid = (
        to_numpy(x)[0] for x in decoder(ops.array(logits), ops.array(offsets), ops.array(mask))
    )
    # Roots of products: 0.9 * 0.8 and 0.9 * 0.5 of verb 0 at point 0; 0.6 * 0.7 of verb 1 with noun
    # 1 and 0.6 * 0.4 with noun 0 at point 1 come after 0.3 * 0.7 = 0.21, no: 0.24 is more.
    np.testing.assert_allclose(found[valid], [0.72, 0.45, 0.42, 0.24], rtol=1e-5)
    np.testing.assert_array_equal(labels[valid], [0 * 3 + 0, 0 * 3 + 1, 1 * 3 + 1, 1 * 3 + 0])
    np.testing.assert_allclose(segments[valid], [[-1, 2], [-1, 2], [0.5, 4], [0.5, 4]], rtol=1e-6)


def test_actions_are_pairs_of_what_the_models_say():
    """Every pair of the ten best at every point, against NumPy, from the raw outputs of both."""
    verbs, nouns = small_model(), nouns_model()
    model = VerbNounModel(verbs, nouns)
    model.postprocess = EVERYTHING
    found = model.detect(FEATS)
    v, n = verbs.raw(FEATS), nouns.raw(FEATS)
    expected = []
    for point in range(len(v)):
        start, end = (v.segments_sec[point] + n.segments_sec[point]) / 2
        best = np.argsort(-n.scores[point])[:10]
        for verb in range(3):
            for noun in best:
                score = np.sqrt(v.scores[point, verb] * n.scores[point, noun])
                is_long = end - start > EVERYTHING.duration_thresh * model.grid.step_sec
                if score > EVERYTHING.pre_nms_thresh and is_long:
                    expected.append((score, verb * NUM_NOUNS + noun, max(start, 0), max(end, 0)))
    expected = np.array(sorted(expected, reverse=True))
    assert len(found) == len(expected) > 500
    ours = np.argsort(-found.scores, kind="stable")
    np.testing.assert_allclose(found.scores[ours], expected[:, 0], atol=1e-6)
    gaps = np.abs(np.diff(expected[:, 0], prepend=2, append=-1)) > 1e-5
    clear = gaps[1:] & gaps[:-1]
    np.testing.assert_array_equal(found.labels[ours][clear], expected[clear, 1])
    np.testing.assert_allclose(found.segments_sec[ours][clear], expected[clear, 2:], atol=1e-4)
    assert found.class_names[found.labels[0]] == "{},{}".format(*divmod(found.labels[0], NUM_NOUNS))


@pytest.mark.slow
def test_either_may_be_several_and_tiles_change_nothing():
    verbs, nouns = small_model(), nouns_model()
    once = VerbNounModel(verbs, nouns)
    twice = VerbNounModel(verbs, Ensemble([nouns, nouns]))
    feats = np.concatenate([FEATS, FEATS[::-1]])
    expected = once.detect(feats)
    assert len(expected) == 50
    for found in (twice.detect(feats), once.detect(feats, tile_steps=120)):
        np.testing.assert_array_equal(found.labels, expected.labels)
        np.testing.assert_allclose(found.scores, expected.scores, atol=2e-6)
        np.testing.assert_allclose(found.segments_sec, expected.segments_sec, atol=1e-4)


def test_ids_are_places_or_the_names():
    def ids_of(*names):
        architecture = types.SimpleNamespace(num_classes=3)
        return official_ids(types.SimpleNamespace(class_names=names, architecture=architecture))

    assert ids_of("take", "put", "cut") == ids_of() == [0, 1, 2]
    assert ids_of("id_001", "id_040", "id_007") == [1, 40, 7]  # as OpenTAD calls them
    assert ids_of("id_001", "cut", "id_007") == [0, 1, 2]


def test_other_pyramids_are_named():
    with pytest.raises(UserError, match="The model of nouns has n_mha_win_size=7.*model of verbs"):
        VerbNounModel(small_model(), nouns_model(n_mha_win_size=7))


def test_models_of_other_classes_are_told(caplog):
    nouns = nouns_model(num_classes=98, class_names=())
    with pytest.raises(UserError, match="The model of verbs has a class of id 97, but .* 97 verbs"):
        VerbNounModel(nouns, small_model())
    assert VerbNounModel(small_model(), nouns).class_names[-1] == "2,97"
    assert "The model of nouns has 98 classes, whose places are taken for the ids" in caplog.text
    caplog.clear()
    verbs = small_model(class_names=("id_001", "id_300", "id_007"))
    with pytest.raises(UserError, match="The model of nouns has a class of id 300, but .* 300 nou"):
        VerbNounModel(small_model(), verbs)
    verbs = small_model(class_names=("id_001", "id_096", "id_007"))
    assert VerbNounModel(verbs, nouns_model(class_names=[f"id_{i}" for i in range(1, 14)]))
    assert caplog.text.count("places are taken") == 1  # of the model of verbs before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Presets of verbs and nouns, features of two videos, and annotations of actions."""
    folder = tmp_path_factory.mktemp("epic")
    small_model().save_to_preset(folder / "verbs")
    nouns_model().save_to_preset(folder / "nouns")
    (folder / "feats").mkdir()
    videos = []
    for video_id in ("P01_11", "P02_03"):
        np.save(folder / "feats" / f"{video_id}.npy", FEATS)
        segments, labels = np.array([[1.0, 4.0], [6.0, 9.0]]), np.array([0, 1])
        videos.append(Video(video_id, "validation", 14.0, 25.0, segments, labels))
    save_annotations(folder / "actions.json", Annotations(tuple(videos), ("0,3", "2,12")))
    return folder


@pytest.mark.slow
def test_programs(folder):
    models = ("--verbs=verbs", "--nouns=nouns,nouns")
    done = run_here(
        folder, "detect", *models, "--feats=feats", "--top_k=20", "--output=test.json",
        "--format=epic", "--supervision=2,3,4",
    )  # fmt: skip
    assert done.returncode == 0 and "40 detections in 2 files" in done.stdout, done.stderr
    submitted = json.loads((folder / "test.json").read_text())
    assert (submitted["sls_td"], list(submitted["results"])) == (4, ["P01_11", "P02_03"])
    first = submitted["results"]["P01_11"][0]
    assert f" {first['action']}\n" in done.stdout  # as it was told

    truth = ("--ground_truth=actions.json", "--subset=validation")
    scored = run_here(folder, "evaluate", *truth, *models, "--feats=feats", "--output=scores.json")
    assert scored.returncode == 0, scored.stderr
    lines = scored.stdout.splitlines()
    levels = [
        name for line in lines for name in ("verbs", "nouns", "actions") if f"{name}: " in line
    ]
    assert levels == ["verbs", "nouns", "actions"]
    assert "tIoU         0.10    0.20    0.30    0.40    0.50 average" in lines
    scores = json.loads((folder / "scores.json").read_text())
    assert list(scores) == ["verb", "noun", "action"]
    of_file = run_here(folder, "evaluate", *truth, "--actions", "--detections=test.json")
    assert of_file.returncode == 0, of_file.stderr
    assert "verbs: 40 detections, 4 ground-truth instances of 2 classes" in of_file.stdout


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--verbs=verbs"], "--verbs and --nouns, which belong together"),
        (["--ensemble=verbs", "--nouns=nouns"], "Give --ensemble alone"),
        (["--ensemble=verbs,"], "--ensemble=verbs, must name runs or presets"),
        (["--ensemble=verbs,verbs", "--preset=verbs"], "Give either --workdir=DIR"),
        (["--ensemble=verbs,nouns"], "Model 2 has 13 classes, but model 1 has 3"),
        (["--ensemble=verbs,verbs", "--bouts"], "recommends none: give --score_threshold"),
        (["--ensemble=verbs", "--format=epic"], "--format=epic is of a file"),
        (["--ensemble=verbs", "--format=epic", "--output=a.csv"], "'a.csv' must end in .json"),
        (
            ["--ensemble=verbs", "--format=epic", "--output=a.json"],
            "classes such as 'run'.*--verbs",
        ),
        (
            ["--ensemble=verbs", "--format=epic", "--output=a.json", "--supervision=2,3"],
            "three whole numbers in 0..5, for sls_pt",
        ),
        (
            ["--ensemble=verbs", "--format=ego4d", "--output=a.json", "--supervision=2,3,3"],
            "--supervision is for --format=epic",
        ),
        (["--ensemble=verbs", "--supervision=2,3,3"], "--supervision is for --format=epic"),
    ],
)
def test_wrong_options(folder, arguments, text):
    done = run_here(folder, "detect", "--feats=feats/P01_11.npy", *arguments)
    assert done.returncode == 2
    assert re.search(text, done.stderr), done.stderr
