"""What an evaluation shows and writes."""

import json

import numpy as np

from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.detections import Detections
from keras_actionformer.evaluation.evaluation import evaluate


def test_tables_and_dict():
    truth = [Video("a", "test", None, None, np.array([[0.0, 10], [20, 30]]), np.array([0, 1]))]
    found = {"a": Detections([[0, 10]], [0.9], [0], ("run", "long jump"))}
    result = evaluate(truth, found, tiou_thresholds=(0.5, 0.75), recall_at=(1,))
    lines = str(result).splitlines()
    assert lines[0] == "1 detection, 2 ground-truth instances of 2 classes (percent)"
    assert lines[1].split() == ["tIoU", "0.50", "0.75", "average"]
    assert lines[2].split() == ["mAP", "50.00", "50.00", "50.00"]
    assert lines[3].split() == ["Recall@1x", "50.00", "50.00", "50.00"]
    assert len(lines) == 4
    table = result.per_class_table().splitlines()
    assert table[1].split() == ["run", "1", "1", "100.00", "100.00", "100.00"]
    assert table[2].split() == ["long", "jump", "1", "0", "0.00", "0.00", "0.00"]
    content = json.loads(json.dumps(result.to_dict()))
    assert content["average_mean_ap"] == 0.5
    assert [one["label"] for one in content["classes"]] == ["run", "long jump"]
    assert content["classes"][0]["ap"] == [1.0, 1.0]
