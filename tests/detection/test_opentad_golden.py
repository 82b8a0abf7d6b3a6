"""Detections against OpenTAD's, from feature files to seconds, and the steps between."""

import json
import pathlib

import numpy as np
import pytest

from helpers.golden_files import GOLDEN, cases, group, load
from helpers.opentad_models import opentad_model
from keras_actionformer.data.windows import sliding_windows
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.suppression import suppress
from keras_actionformer.evaluation.fusion import fuse_scores
from keras_actionformer.network.resizing import ResizeTo
from keras_actionformer.presets.opentad import model_arguments

FACTS = pathlib.Path(__file__).parents[1] / "golden/o_facts_configs.json"


def _variants():
    for case in cases("o_e"):
        for name, variant in load(case.values[0])["meta_json"].get("variants", {}).items():
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


def _model(golden, variant):
    """The model of a file, with the inference of one of its variants."""
    data = dict(golden["config_json"]["dataset_test"])
    if variant["window_overlap_ratio"] is not None:
        data["window_overlap_ratio"] = variant["window_overlap_ratio"]
    config = {
        **golden["config_json"],
        "dataset": {"test": data},
        "post_processing": variant["post_processing"],
    }
    arguments = model_arguments(config)
    return opentad_model(golden, **arguments), data


@pytest.mark.parametrize("path, name", list(_variants()))
def test_golden_detections_from_feature_files(path, name):
    golden = load(path)
    meta, stored = golden["meta_json"], group(golden, f"{name}/")
    model, data = _model(golden, meta["variants"][name])
    folder = path.parent / meta["data_folder"]
    videos = {item["video_name"]: item for item in meta["items"]}  # the last of several windows
    prefix = next((step.get("prefix", "") for step in data["pipeline"] if "Load" in step["type"]))
    for i, (video_id, item) in enumerate(videos.items()):
        feats = np.load(folder / "feats" / f"{prefix}{video_id}.npy")
        fps = None if item["fps"] == -1 else item["fps"]
        found = model.detect(feats, fps=fps, duration_sec=item["duration"], batch_size=1)
        if meta["variants"][name]["sliding_window"]:
            _check_rounded(found, stored["results_json"][video_id], folder)
            continue
        times = stored[f"sec/{i}/segments"]
        np.testing.assert_allclose(found.segments_sec, times, rtol=0, atol=1e-4)
        if f"nms/{i}/scores" in stored:
            kept = stored[f"nms/{i}/scores"]
            np.testing.assert_allclose(found.scores, kept, rtol=0, atol=1e-5)
            np.testing.assert_array_equal(found.labels, stored[f"nms/{i}/labels"].astype(int))


def _check_rounded(found, results, folder):
    """Detections that are rounded already, and those of a result file: the same, in order."""
    names = (folder / "category_idx.txt").read_text().split("\n")
    assert [names[label] for label in found.labels] == [x["label"] for x in results]
    times, scores = [x["segment"] for x in results], [x["score"] for x in results]
    np.testing.assert_allclose(found.segments_sec, np.array(times).reshape(-1, 2), atol=1e-5)
    np.testing.assert_allclose(found.scores, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", cases("o_r"))
def test_golden_resizing(path):
    golden = load(path)
    for name in [name for name in golden if name.endswith(("/torchvision_align", "/interpolate"))]:
        case, tool = name.split("/")
        feats, expected = golden[f"{case}/feats"], golden[name]
        method = {"torchvision_align": "roi_align", "interpolate": "linear"}[tool]
        layer = ResizeTo(len(expected), method)
        found, count = layer(feats[None], np.array([len(feats)], "int32"))
        assert int(count[0]) == len(expected)
        # Steps of features of 1000 differ by up to as much: a position's last bits decide.
        atol = 2e-6 * max(1.0, abs(np.diff(feats, axis=0)).max()) * len(feats) ** 0.5
        np.testing.assert_allclose(np.asarray(found[0]), expected, rtol=1e-5, atol=atol)
    for case, settings in golden["meta_json"].get("cases", {}).items():
        if "snippet_stride_before" not in settings or settings["settings"].get("channel_first"):
            continue
        feats, length = golden[f"{case}/in_feats"], settings["settings"]["length"]
        layer = ResizeTo(length, only_longer=True)
        found, count = layer(feats[None], np.array([len(feats)], "int32"))
        assert int(count[0]) == min(len(feats), length)
        expected = golden[f"{case}/feats"][: int(count[0])]
        np.testing.assert_allclose(np.asarray(found[0]), expected, rtol=0, atol=1e-6)
        rate = max(1.0, len(feats) / length)
        assert settings["snippet_stride"] == pytest.approx(settings["snippet_stride_before"] * rate)


@pytest.mark.parametrize("path", cases("o_r09"))
def test_golden_windows(path):
    golden = load(path)
    for name, case in golden["meta_json"]["cases"].items():
        stride, window = case["snippet_stride"], case["window_size"]
        rows, lists = golden[name], {}
        for frames, first, last, size in rows.tolist():
            lists.setdefault(frames, []).append((first // stride, last // stride, size))
        for frames, windows in lists.items():
            # A list may stand there twice, of sequences with as many frames.
            steps = -(-frames // stride)
            ours = sliding_windows(steps, window, case["window_overlap_ratio"], reach_end=False)
            ours = [(start, start + size - 1, size) for start, size in ours]
            assert windows[: len(ours)] == ours, (name, frames)


def _suppressions():
    for case in cases("o_e"):
        golden = load(case.values[0])
        inputs = {name.split("/")[0] for name in golden if name.endswith("/labels")}
        # Without a file of its own, it is a step of what the others compute.
        for settings in golden["meta_json"].get("settings", {}):
            for name in sorted(inputs):
                if settings != "defaults" and f"{name}/{settings}/scores" in golden:
                    yield pytest.param(case.values[0], name, settings, id=f"{name}-{settings}")


@pytest.mark.parametrize("path, name, settings", list(_suppressions()))
def test_golden_suppression(path, name, settings):
    golden = load(path)
    nms = golden["meta_json"]["settings"][settings]
    config = json.loads(FACTS.read_text())["thumos_i3d.py"]
    config["post_processing"] = {"nms": nms}
    given = group(golden, f"{name}/")
    valid = np.ones((1, len(given["scores"])), bool)
    segments, scores, labels, count = suppress(
        given["segments"][None], given["scores"][None], given["labels"][None].astype("int32"),
        valid, model_arguments(config)["postprocess"],
    )  # fmt: skip
    expected = group(golden, f"{name}/{settings}/")
    assert int(count[0]) == len(expected["scores"])
    found = np.asarray(scores)[0][: int(count[0])]
    np.testing.assert_allclose(found, expected["scores"], rtol=0, atol=1e-6)
    found = np.asarray(segments)[0][: int(count[0])]
    # For one without length, which nobody votes for, its program has no numbers.
    known = np.isfinite(expected["segments"])
    np.testing.assert_allclose(found[known], expected["segments"][known], rtol=1e-5, atol=1e-4)
    assert np.isfinite(found).all()
    found = np.asarray(labels)[0][: int(count[0])]
    np.testing.assert_array_equal(found, expected["labels"].astype(int))


RULES = {"CUHKANETClassifier": "product", "TCANetHACSClassifier": "twice_product",
         "StandardClassifier": "sqrt"}  # fmt: skip


@pytest.mark.parametrize("path, name", list(_variants()))
def test_golden_fusion_with_a_video_classifier(path, name):
    golden = load(path)
    meta, stored = golden["meta_json"], group(golden, f"{name}/")
    classifier = meta["variants"][name]["post_processing"].get("external_cls")
    if classifier is None:
        pytest.skip("no classifier")
    scores = json.loads((path.parent / meta["data_folder"] / classifier["path"]).read_text())
    for i, item in enumerate(meta["items"]):
        of_video = np.ravel(scores["results"][item["video_name"]])
        if classifier["type"] == "TCANetHACSClassifier":  # which has logits in its file
            of_video = np.exp(of_video) / np.exp(of_video).sum()
        labels = stored[f"nms/{i}/labels"].astype(int)
        found = Detections(stored[f"sec/{i}/segments"], stored[f"nms/{i}/scores"], labels)
        fused = fuse_scores(
            found, of_video, topk=classifier["topk"], rule=RULES[classifier["type"]]
        )
        np.testing.assert_allclose(fused.scores, stored[f"ext/{i}/scores"], atol=1e-6)
        np.testing.assert_array_equal(fused.segments_sec, stored[f"ext/{i}/segments"])
        expected = meta["variants"][name]["ext_labels"][i]
        assert [scores["class"][label] for label in fused.labels] == expected


def test_every_stored_data_folder_is_there():
    for case in cases("o_e"):
        folder = load(case.values[0])["meta_json"].get("data_folder")
        assert folder is None or (GOLDEN / folder).is_dir(), json.dumps(folder)
