"""Training items against OpenTAD's: cut at random, resized, rounded to frames; loaded features."""

import json

import numpy as np
import pytest

from helpers.golden_files import ReplayedDraws, cases, load
from keras_actionformer.data import windows
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.examples import Sequence, make_items, resize_feats
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.grid import Timing
from keras_actionformer.data.learned_actions import learned_videos
from keras_actionformer.data.windows import Lengths, truncate


def _cuts():
    for case in cases("o_r"):
        for name, found in load(case.values[0])["meta_json"].get("cases", {}).items():
            if "trunc_len" in found.get("settings", {}):
                yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


def _keeps(settings):
    """Our `cut_keeps` of settings of RandomTrunc."""
    if settings.get("no_trunc", False):
        return "whole_actions"
    return "an_action" if settings.get("has_action", True) else "anything"


@pytest.mark.parametrize("path, name", list(_cuts()))
def test_golden_random_cuts(path, name, monkeypatch):
    golden = load(path)
    case = golden["meta_json"]["cases"][name]
    settings, draws = case["settings"], ReplayedDraws(case["draws"])
    monkeypatch.setattr(windows, "_MAX_TRIALS", settings.get("max_num_trials", 200))
    is_transposed = settings.get("channel_first", False)
    feats = golden[f"{name}/in_feats"]
    start, length, kept, segments = truncate(
        len(feats), golden[f"{name}/in_gt_segments"], settings["trunc_len"],
        settings["trunc_thresh"], 0.0, settings.get("crop_ratio"), draws, _keeps(settings),
    )  # fmt: skip
    assert not draws.calls
    expected = golden[f"{name}/feats"].T if is_transposed else golden[f"{name}/feats"]
    np.testing.assert_array_equal(expected[:length], feats[start : start + length])
    assert golden[f"{name}/masks"].sum() == length
    np.testing.assert_allclose(segments, golden[f"{name}/gt_segments"].reshape(-1, 2), atol=1e-5)
    labels = golden[f"{name}/in_gt_labels"][kept]
    np.testing.assert_array_equal(labels, golden[f"{name}/gt_labels"])


# === Items of its data sets ===


def _runs():
    for case in cases("o_r"):
        for name, run in load(case.values[0])["meta_json"].get("runs", {}).items():
            steps = {step["type"]: step for step in run["config"]["pipeline"]}
            # Windows and what is padded by resizing are of tests alone.
            has_actions = not run["config"].get("test_mode", False)
            # This one, which no configuration takes, cuts times to whole seconds.
            is_odd = run["config"]["type"] == "Ego4DResizeDataset"
            is_trained = has_actions and not {"SlidingWindowTrunc", "Padding"} & steps.keys()
            if is_trained and not is_odd:
                yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


def _annotations(folder, config, class_names, target):
    """The annotations of a data set, with its frame rates, and without what has no class."""
    content = json.loads((folder / "anno.json").read_text())
    for entry in content["database"].values():
        entry["fps"] = entry["frame"] / entry["duration"]
        entry["annotations"] = [a for a in entry["annotations"] if a["label"] != "Ambiguous"]
    target.write_text(json.dumps(content))
    agnostic = config.get("class_agnostic", False)
    return load_annotations(
        target,
        class_names=None if agnostic else class_names,
        class_agnostic=agnostic,
        outside="keep",
    )


@pytest.mark.parametrize("path, name", list(_runs()))
def test_golden_training_items(path, name, tmp_path):
    golden = load(path)
    run = golden["meta_json"]["runs"][name]
    config, folder = run["config"], path.parent / "o_r_data" / path.stem.split("_dataset_")[1]
    steps = {step["type"]: step for step in config["pipeline"]}
    annotations = _annotations(folder, config, run["class_map"], tmp_path / "annotations.json")
    wanted = {item["metas"]["video_name"] for item in run["items"]}
    is_anet = config["type"].startswith("Anet")
    timing = Timing(
        config.get("feature_stride", 1),
        2 * config.get("offset_frames", 0),
        fps=config.get("fps"),
        downsample_rate=config.get("sample_stride", 1),
    )
    videos = learned_videos(
        [v for v in annotations.videos if v.video_id in wanted],
        timing,
        whole_frames=not is_anet,
        min_action_share=0.01 if is_anet and config["filter_gt"] else 0.0,
        drop_repeated=True,
        drop_without=True,
    )
    assert {video.video_id for video in videos} == wanted
    files = FeatureFiles(folder / "feats", 6, steps["LoadFeats"].get("prefix", ""), ".npy")
    trunc, resize_to = steps.get("RandomTrunc"), config.get("resize_length")
    lengths = Lengths(
        resize_to or 10_000,
        cut_beyond_ends=False,
        resize_to=resize_to,
        resize_method="roi_align",
        spread_duration=True,
    )
    by_id = {video.video_id: video for video in videos}
    for i, stored in enumerate(run["items"]):
        video = by_id[stored["metas"]["video_name"]]
        feats = files.load(video.video_id)[:: timing.downsample_rate]
        grid, num_steps = timing.grid_of(video), len(feats)
        if resize_to is not None:
            feats = resize_feats(feats, resize_to, "roi_align")
        sequence = Sequence(num_steps, *feats.shape, window=None)
        (item,) = make_items([video], [sequence], [grid], lengths)
        labels, segments = item.labels, item.segments_grid
        if trunc is not None:
            draws = ReplayedDraws(stored["draws"])
            start, length, kept, segments = truncate(
                item.feats_len, segments, trunc["trunc_len"], trunc["trunc_thresh"],
                item.offset_grid, trunc["crop_ratio"], draws,
            )  # fmt: skip
            assert not draws.calls
            feats, labels = feats[start : start + length], labels[kept]
        # A step that is resized is known as well as the last bits of its position.
        atol = 1e-4 if resize_to else 0.0
        _check_item(feats, segments, labels, golden, f"{name}/{i}/", atol)


def _check_item(feats, segments, labels, golden, prefix, atol):
    expected = golden[f"{prefix}feats"].T[: len(feats)]
    np.testing.assert_allclose(feats, expected, rtol=0, atol=atol)
    assert golden[f"{prefix}masks"].sum() == len(feats)
    expected = golden[f"{prefix}gt_segments"].reshape(-1, 2)
    kept = expected[:, 1] > expected[:, 0]  # what lasts no frame, no point can learn
    np.testing.assert_allclose(segments, expected[kept], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(labels, golden[f"{prefix}gt_labels"][kept])


# === Features ===


def _loads():
    for case in cases("o_r"):
        for name, found in load(case.values[0])["meta_json"].get("cases", {}).items():
            # Streams of several kinds of files are of no use to anyone.
            if isinstance(found.get("feat_format"), str):
                yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


@pytest.mark.parametrize("path, name", list(_loads()))
def test_golden_feature_files(path, name):
    golden = load(path)
    case, expected = golden["meta_json"]["cases"][name], golden[name]
    folders = [case["folders"]] if isinstance(case["folders"], str) else case["folders"]
    files = FeatureFiles(
        [path.parent / "o_r_data" / "load" / folder for folder in folders],
        expected.shape[1],
        case.get("prefix", ""),
        f"{case.get('suffix', '')}.{case['feat_format']}",
        unequal_streams="to_longest",
    )
    feats = files.load(case["video_name"])
    if case["feat_format"] == "csv":  # of which OpenTAD takes any first line for a header
        assert len(feats) - len(expected) in (0, 1)
        feats = feats[len(feats) - len(expected) :]
    # A step that is resized is known as well as the last bits of its position.
    atol = 1e-5 if len(folders) > 1 else 0.0
    feats = feats[:: case.get("sample_stride", 1)]
    np.testing.assert_allclose(feats, expected, rtol=1e-7, atol=atol)
