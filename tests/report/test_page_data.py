"""What the page's script reads: a hand-worked case, and its counts beside Python's."""

import json
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

from helpers.made_up_scores import made_up
from keras_actionformer import report
from keras_actionformer.data.annotations import Video
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.thresholds import Thresholds
from keras_actionformer.evaluation.score_thresholds import score_above
from keras_actionformer.report.page_data import timeline_data
from keras_actionformer.report.sources import Scored

TEMPLATES = pathlib.Path(report.__file__).with_name("templates")
TIOUS = (0.3, 0.5, 0.7)


def test_by_hand():
    """Two instances and four detections, one of them in a video that is in no ground truth.

    Of class 4, [0, 4] has a tIoU of 1 with the first instance and takes it; [1, 4] (3/4 of it)
    comes later and finds nothing. [10, 13] has 3/4 with [10, 14].
    """
    truth = Video("a", "test", 20.0, None, np.array([[0.0, 4.0], [10.0, 14.0]]), np.array([4, 7]))
    found = Detections([[1, 4], [10, 13], [0, 4]], [0.57, 0.9, 0.8], [4, 7, 4])
    other = Detections([[1.5, 2.0]], [0.1], [4])
    data = timeline_data(
        Scored("x", (truth,), {"a": found, "b": other}, ()),
        Thresholds(0.25, [None] * 7 + [0.5]),
        (0.5, 0.8),
        0.5,
    )
    assert data["classes"] == ["class_4", "class_7"] and data["labels"] == [4, 7]
    assert data["tious"] == [0.5, 0.8] and data["tiou"] == 0
    assert data["score_steps"] == 10_000 and data["score_range"] == [0, 9000]
    assert data["own"] == [2500, 5000] and data["common"] == 2500
    a, b = data["videos"]
    # class, start, length in ms, score: by class, then by falling score; 0.57 * 10_000 < 5700.
    assert a["found"] == [0, 0, 4000, 8000, 0, 1000, 3000, 5700, 1, 10_000, 3000, 9000]
    # class, start, length, and what finds it at 0.5 and at 0.8
    assert a["truth"] == [0, 0, 4000, 0, 0, 1, 10_000, 4000, 2, -1]
    assert a["ms"] == 20_000 and a["known"] == 1
    assert b == {"id": "b", "ms": 2000, "known": 0, "truth": [], "found": [0, 1500, 500, 1000]}


def test_scores_that_are_no_probabilities_are_told_apart_too():
    truth = Video("a", "test", None, None, np.array([[0.0, 4.0]]), np.array([0]))
    found = Detections([[0, 4], [0, 3]], [1500.0, -500.0], [0, 0])
    data = timeline_data(Scored("x", (truth,), {"a": found}, ()), Thresholds(0.0), (0.5,), 0.5)
    steps = data["score_steps"]
    assert data["videos"][0]["found"][3::4] == [1500 * steps, -500 * steps]
    assert data["score_range"] == [-500 * steps, 1500 * steps]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
def test_the_page_counts_as_python_does(tmp_path):
    scored = made_up(num_videos=20)
    data = timeline_data(scored, Thresholds(0.5), TIOUS, 0.5)
    wanted, asked = [], []
    for place, tiou in enumerate(TIOUS):
        for threshold in (0.0, 0.25, 0.5, 0.57, 0.9, 1.0):
            above = score_above(scored.videos, scored.detections, threshold, tiou)
            counts = (above.ground_truth, above.found, above.right)
            wanted.append([int(count.sum()) for count in counts])
            asked.append([place, round(threshold * data["score_steps"])])
    (tmp_path / "data.json").write_text(json.dumps([data, asked]))
    (tmp_path / "count.js").write_text(
        (TEMPLATES / "counts.js").read_text(encoding="utf-8")
        + """
        const [data, asked] = JSON.parse(require("fs").readFileSync("data.json"));
        const videos = readVideos(data);
        console.log(JSON.stringify(asked.map(([tiou, threshold]) => {
          const least = data.classes.map(() => threshold);
          const sum = addCounts(videos.map((video) => countVideo(video, tiou, least)));
          const found = videos.flatMap((video) => video.truth.filter(
            (instance) => isFound(video, instance, tiou, least)));
          if (found.length !== sum.right) throw new Error("instances found are not those right");
          return [sum.truth, sum.reported, sum.right];
        })));
        """
    )
    done = subprocess.run(
        ["node", "count.js"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == wanted
    assert len({tuple(counts) for counts in wanted}) > 10  # they do differ
