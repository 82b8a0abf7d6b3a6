"""A whole run of the reference: its weights on its data give its detections and its scores."""

import numpy as np
import pytest

from helpers.golden_files import cases, group, load
from helpers.models import to_numpy
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.batches import evaluation_items
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.grid import Timing
from keras_actionformer.detection.batching import pad_batch
from keras_actionformer.detection.detector import Detector
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.model import ActionFormer
from keras_actionformer.presets.reference import load_reference_parameters, model_arguments


@pytest.fixture(params=cases("j"))
def run(request):
    """(golden file, its test videos with features and timing, a model without weights)."""
    golden = load(request.param)
    config, folder = golden["config_json"], request.param.parent
    data = config["dataset"]
    annotations = load_annotations(folder / data["json_file"], outside="keep")
    videos = [v for name in config["val_split"] for v in annotations.subset(name)]
    features = FeatureFiles(
        folder / data["feat_folder"],
        data["input_dim"],
        data["file_prefix"] or "",
        data["file_ext"],
    )
    items = evaluation_items(
        videos,
        features,
        Timing(
            stride_frames=data["feat_stride"],
            window_frames=data["num_frames"],
            fps=data["default_fps"],
            downsample_rate=data["downsample_rate"],
        ),
    )
    return golden, list(items), ActionFormer(**model_arguments(config))


@pytest.mark.parametrize("stored, outputs", [("sd", "state_dict"), ("ema", "state_dict_ema")])
def test_raw_outputs(run, stored, outputs):
    golden, items, model = run
    load_reference_parameters(model, group(golden, f"{stored}/module."))
    network = Detector(model, model.postprocess).network
    for video, feats, _ in items:
        ours = network(pad_batch([feats]))
        padded = ours["mask"].shape[1]
        prefix = f"{outputs}/{video.video_id}/"
        for name, key in (("logits", "cls_logits_"), ("offsets", "offsets_")):
            first = 0
            for level, stride in enumerate(model.strides):
                valid = -(-len(feats) // stride)
                theirs = golden[f"{prefix}{key}{level}"][:valid]
                found = to_numpy(ours[name])[0, first : first + valid]
                np.testing.assert_allclose(
                    found, theirs, rtol=0, atol=1e-5 * max(1, abs(theirs).max())
                )
                first += padded // stride


def test_detections_and_scores(run):
    golden, items, model = run
    load_reference_parameters(model, group(golden, "ema/module."))
    detections = {}
    for video, feats, grid in items:
        found = model.detect(feats, duration_sec=video.duration_sec, grid=grid)
        detections[video.video_id] = found
        mine = golden["eval/video_id"] == video.video_id
        np.testing.assert_allclose(found.scores, golden["eval/score"][mine], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found.labels, golden["eval/label"][mine])
        segments = np.stack([golden["eval/t-start"][mine], golden["eval/t-end"][mine]], axis=1)
        np.testing.assert_allclose(found.segments_sec, segments, rtol=0, atol=1e-4)
    result = evaluate([video for video, _, _ in items], detections)
    np.testing.assert_allclose(result.mean_ap, golden["eval/mAP"], atol=1e-9)
    np.testing.assert_allclose(result.mean_recall, golden["eval/mRecall"], atol=1e-9)
