"""mAP and recall: the reference's numbers, small cases checked by hand, behaviour, the program."""

import functools
import json
import types

import numpy as np
import pytest

from helpers import golden_files
from helpers.programs import run_program
from keras_actionformer.data.annotation_files import load_annotations
from keras_actionformer.data.instances import usable_instances
from keras_actionformer.detection.detections import Detections, save_detections
from keras_actionformer.errors import UserError
from keras_actionformer.evaluation.average_precision import average_precision
from keras_actionformer.evaluation.evaluation import evaluate, evaluate_arrays

# The same float64 operations in another order: only the last bits may differ.
EXACT = 1e-9

EVALUATOR_CASES = golden_files.cases("g")


def video(video_id, segments_sec, labels):
    """What `evaluate` needs of an `annotations.Video`."""
    return types.SimpleNamespace(
        video_id=video_id,
        segments_sec=np.array(segments_sec, np.float64).reshape(-1, 2),
        labels=np.array(labels, np.int64),
    )


# --- the reference's numbers ---------------------------------------------------------------------


def truth_videos(path, golden):
    """Returns the annotated videos that a golden file was scored against."""
    meta = golden["meta_json"]
    annotations = load_annotations(path.with_name(meta["gt_json"]), outside="keep")
    return annotations.subset(meta["eval_split"])


@functools.lru_cache
def read_case(path):
    """Returns (ground-truth arrays, detection arrays, all arrays of the golden file)."""
    golden = golden_files.load(path)
    videos = truth_videos(path, golden)
    place = {video.video_id: index for index, video in enumerate(videos)}
    ground_truth = (
        np.repeat(np.arange(len(videos)), [len(video.labels) for video in videos]),
        np.concatenate([video.segments_sec for video in videos]),
        np.concatenate([video.labels for video in videos]),
    )
    found = (
        np.array([place.get(video_id, -1) for video_id in golden["pred/video_id"].tolist()]),
        np.stack([golden["pred/t-start"], golden["pred/t-end"]], axis=1).astype(np.float64),
        golden["pred/label"],
        golden["pred/score"].astype(np.float64),
    )
    return ground_truth, found, golden


def runs(golden):
    """Names of the runs in a golden file, those with the stable order where the file has them."""
    kind = "out_stable/" if any(name.startswith("out_stable/") for name in golden) else "out/"
    ending = "/thresholds"
    return [k.removesuffix(ending) for k in golden if k.startswith(kind) and k.endswith(ending)]


def ranks_as_reference(ground_truth, found):
    """Labels as the reference numbers them: ground-truth ids become their rank, others stay."""
    gt_videos, gt_segments_sec, gt_labels = ground_truth
    ids = np.unique(gt_labels[usable_instances(gt_videos, gt_segments_sec, gt_labels)])
    rank = {label: place for place, label in enumerate(ids.tolist())}
    rename = np.vectorize(lambda label: rank.get(label, label), otypes=[np.int64])
    # Instances too short to count may be of a class of their own: -1 is no class of a detection.
    gt_ranks = np.array([rank.get(label, -1) for label in gt_labels.tolist()])
    renamed = (found[0], found[1], rename(found[2]), found[3])
    unknown = ~np.isin(found[2], ids)
    return (gt_videos, gt_segments_sec, gt_ranks), renamed, unknown, len(ids)


def assert_equals_golden(result, golden, run):
    np.testing.assert_allclose(result.ap, golden[f"{run}/ap"], rtol=0, atol=EXACT)
    np.testing.assert_allclose(result.mean_ap, golden[f"{run}/mAP"], rtol=0, atol=EXACT)
    assert result.average_mean_ap == pytest.approx(float(golden[f"{run}/avg_mAP"]), abs=EXACT)
    np.testing.assert_allclose(result.recall, golden[f"{run}/recall"], rtol=0, atol=EXACT)
    np.testing.assert_allclose(result.mean_recall, golden[f"{run}/mRecall"], rtol=0, atol=EXACT)
    assert result.num_ground_truth == golden[f"{run}/n_gt"]


@pytest.mark.parametrize("path", EVALUATOR_CASES)
def test_equals_the_reference(path):
    # With the reference's own numbering of labels, quirk included, every number is the same.
    ground_truth, found, golden = read_case(path)
    gt_ranked, ranked, _, _ = ranks_as_reference(ground_truth, found)
    for run in runs(golden):
        result = evaluate_arrays(*gt_ranked, *ranked, golden[f"{run}/thresholds"])
        assert_equals_golden(result, golden, run)


@pytest.mark.parametrize("path", EVALUATOR_CASES)
def test_detections_of_unknown_classes_are_ignored(path):
    # The reference gives ground-truth class number r the new label r and leaves the labels of other
    # predictions alone, so an unknown label that is smaller than the number of classes is counted
    # as a class it has nothing to do with. Here such detections change nothing.
    ground_truth, found, golden = read_case(path)
    _, _, unknown, num_classes = ranks_as_reference(ground_truth, found)
    collides = np.any(unknown & (found[2] < num_classes))
    known = tuple(column[~unknown] for column in found)
    for run in runs(golden):
        thresholds = golden[f"{run}/thresholds"]
        result = evaluate_arrays(*ground_truth, *found, thresholds)
        without = evaluate_arrays(*ground_truth, *known, thresholds)
        np.testing.assert_array_equal(result.ap, without.ap)
        np.testing.assert_array_equal(result.recall, without.recall)
        assert result.num_detections_ignored == unknown.sum()
        if collides:
            assert np.abs(result.ap - golden[f"{run}/ap"]).max() > EXACT
        else:
            assert_equals_golden(result, golden, run)


@pytest.mark.parametrize("path", EVALUATOR_CASES)
def test_records_and_arrays_agree(path):
    # Sorted by video, so that equal scores stand in the same order in both forms.
    ground_truth, found, golden = read_case(path)
    videos = truth_videos(path, golden)
    ids = golden["pred/video_id"]
    order = np.argsort(ids, kind="stable")
    ids, found = ids[order], tuple(column[order] for column in found)
    _, segments_sec, labels, scores = found
    detections = {
        video_id: Detections(segments_sec, scores, labels)[ids == video_id]
        for video_id in sorted(set(ids.tolist()))
    }
    result, expected = evaluate(videos, detections), evaluate_arrays(*ground_truth, *found)
    np.testing.assert_array_equal(result.ap, expected.ap)
    np.testing.assert_array_equal(result.recall, expected.recall)
    assert result.to_dict() == expected.to_dict()


# --- cases checked by hand -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "hits, num_ground_truth, expected",
    [
        ([1, 1], 2, 1.0),
        ([], 3, 0.0),
        ([0, 0], 1, 0.0),
        ([0, 1], 1, 1 / 2),
        ([1, 0, 1], 4, (1 + 2 / 3) / 4),
        # Precision 0, 1/2, 2/3: the first hit is lifted to the 2/3 that a higher recall reaches.
        ([0, 1, 1], 2, 2 / 3),
    ],
)
def test_average_precision(hits, num_ground_truth, expected):
    assert average_precision(np.array(hits, bool), num_ground_truth) == pytest.approx(expected)


def test_one_class_by_hand():
    truth = [video("a", [[0, 10], [20, 30]], [0, 0]), video("b", [[0, 10]], [0])]
    found = {
        # By score: a 0-8 (tIoU 0.8), b 5-15 (5 s of 15 s: 1/3), a 0-10 (1), a 20-26 (0.6).
        "a": Detections([[0, 8], [0, 10], [20, 26]], [0.9, 0.7, 0.6], [0, 0, 0]),
        "b": Detections([[5, 15]], [0.8], [0]),
    }
    result = evaluate(truth, found, tiou_thresholds=(0.3, 0.5, 0.7, 0.9), recall_at=(1, 2))
    expected_ap = [
        # 0.3: hit, hit, miss (its ground truth is taken), hit; precision 1, 1, 3/4.
        (1 + 1 + 3 / 4) / 3,
        # 0.5: hit, miss, miss, hit; precision 1 and 2/4; the third instance is never found.
        (1 + 2 / 4) / 3,
        # 0.7: only the first hits.
        1 / 3,
        # 0.9: now the third detection is the hit: precision 1/3.
        (1 / 3) / 3,
    ]
    np.testing.assert_allclose(result.ap[:, 0], expected_ap, rtol=1e-12)
    # Video a has two instances: @1x sees its two best (0-8, 0-10), @2x all three. Video b: 5-15.
    expected_recall = [[2 / 3, 3 / 3], [1 / 3, 2 / 3], [1 / 3, 1 / 3], [1 / 3, 1 / 3]]
    np.testing.assert_allclose(result.recall[:, :, 0], expected_recall, rtol=1e-12)
    assert result.average_mean_ap == pytest.approx(np.mean(expected_ap))


def test_a_detection_takes_the_next_ground_truth_when_the_best_is_gone():
    # Both detections overlap 0-10 best (tIoU 1 and 0.9). The second falls back on 1-10, with which
    # it shares 8 s of 10 s: tIoU 0.8, enough for the threshold 0.5 only.
    truth = [video("a", [[0, 10], [1, 10]], [0, 0])]
    found = {"a": Detections([[0, 10], [0, 9]], [0.9, 0.8], [0, 0])}
    result = evaluate(truth, found, tiou_thresholds=(0.5, 0.85, 0.95))
    np.testing.assert_allclose(result.ap[:, 0], [1.0, 0.5, 0.5])


def test_equal_scores_are_visited_from_the_last():
    # The miss comes later, so it is visited first: precision 1/2 at the hit. Else it would be 1.
    truth = [video("a", [[0, 10]], [0])]
    hit, miss = [0, 10], [50, 60]
    last_misses = {"a": Detections([hit, miss], [0.5, 0.5], [0, 0])}
    last_hits = {"a": Detections([miss, hit], [0.5, 0.5], [0, 0])}
    assert evaluate(truth, last_misses).average_mean_ap == pytest.approx(0.5)
    assert evaluate(truth, last_hits).average_mean_ap == pytest.approx(1.0)
    # Recall@1x looks at one detection of the video.
    assert evaluate(truth, last_misses).mean_recall[0].tolist() == [0.0, 1.0]
    assert evaluate(truth, last_hits).mean_recall[0].tolist() == [1.0, 1.0]


def test_short_and_repeated_instances_are_left_out():
    # Row 1 is within a millisecond of row 0, row 3 is half a millisecond long.
    segments = np.array(
        [[0, 5], [0.0008, 5.0008], [0.0016, 5], [7, 7.0005], [0, 5], [0, 5], [0, 6]]
    )
    labels = np.array([0, 0, 0, 0, 1, 0, 0])
    videos = np.array([0, 0, 0, 0, 0, 1, 0])
    result = evaluate_arrays(
        videos, segments, labels, videos[:1], segments[:1], labels[:1], np.ones(1)
    )
    assert result.num_ground_truth == 5
    assert result.num_ground_truth_left_out == 2


# --- behaviour -----------------------------------------------------------------------------------


def test_what_is_missing_or_foreign_is_counted():
    truth = [video("a", [[0, 10]], [2]), video("b", [[0, 10]], [2]), video("empty", [], [])]
    hit = Detections([[0, 10]], [0.5], [2])
    foreign = Detections([[0, 10], [0, 10]], [0.9, 0.8], [2, 5])
    result = evaluate(truth, {"a": hit, "elsewhere": foreign, "empty": hit})
    assert result.num_videos_without_detections == 1  # b
    assert result.num_detections_outside == 1  # the one of class 2
    assert result.num_detections_ignored == 1  # the one of class 5
    assert result.num_detections == 3
    # Visited: elsewhere (miss), empty (miss; equal score, but later), a (hit): precision 1/3. The
    # instance of b, one of two, is never found.
    np.testing.assert_allclose(result.ap, (1 / 3) / 2)
    assert result.class_names == ("class_2",)
    text = str(result)
    assert "ground truth but no detection: 1" in text
    assert "other videos, false positives: 1" in text
    assert "other classes, ignored: 1" in text


@pytest.mark.parametrize("found", [{}, {"a": Detections([], [], [])}])
def test_no_detections_score_zero(found):
    result = evaluate([video("a", [[0, 10], [3, 4]], [0, 1])], found)
    assert result.average_mean_ap == 0.0
    assert result.mean_recall.max() == 0.0
    assert result.num_videos_without_detections == 1


TRUTH = [video("a", [[0, 10]], [0])]


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: evaluate([], {}), "holds no instance to find"),
        (lambda: evaluate([video("a", [], [])], {}), "holds no instance to find"),
        (lambda: evaluate([video("a", [[1, 1]], [0])], {}), "1 of them shorter"),
        (lambda: evaluate(TRUTH + TRUTH, {}), "holds video 'a' twice"),
        (lambda: evaluate(TRUTH, {}, tiou_thresholds=()), "tiou_thresholds must be"),
        (lambda: evaluate(TRUTH, {}, tiou_thresholds=(0.5, 0.0)), "above 0 and at most 1"),
        (lambda: evaluate(TRUTH, {}, tiou_thresholds=(50,)), "above 0 and at most 1"),
        (lambda: evaluate(TRUTH, {}, recall_at=(0,)), "recall_at must be"),
        (lambda: evaluate(TRUTH, {}, recall_at=(1.5,)), "recall_at must be"),
        (
            lambda: evaluate(
                TRUTH, {"a": Detections([[0, 1]], [1.0], [0], ("jump",))}, class_names=("run",)
            ),
            "video 'a' call class id 0 'jump', elsewhere it is 'run'",
        ),
    ],
)
def test_errors_tell_what_is_wrong(call, text):
    with pytest.raises(UserError, match=text):
        call()


# --- the program ---------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    """A ground truth whose ids are not alphabetical, and detections that carry names."""
    actions = [
        {"label": "run", "label_id": 0, "segment": [0, 10]},
        {"label": "jump", "label_id": 3, "segment": [20, 30]},
    ]
    database = {"a": {"subset": "Test", "duration": 60, "annotations": actions}}
    (tmp_path / "gt.json").write_text(json.dumps({"database": database}))
    names = ("jump", "run", "swim")
    found = Detections([[0, 10], [20, 30], [1, 2]], [0.9, 0.8, 0.7], [1, 0, 2], names)
    save_detections(tmp_path / "found.json", {"a": found})
    return tmp_path


def test_program_matches_classes_by_name_and_needs_no_framework(files):
    done = run_program(
        files, "evaluate", "--ground_truth=gt.json", "--detections=found.json", "--tiou=0.5,0.9",
        "--per_class", "--output=scores/out.json",
        program=("-X", "importtime", "-m", "keras_actionformer"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mAP" in done.stdout and "100.00  100.00  100.00" in done.stdout
    assert "other classes, ignored: 1" in done.stdout
    assert "jump" in done.stdout
    content = json.loads((files / "scores" / "out.json").read_text())
    assert content["average_mean_ap"] == 1.0
    assert [one["label"] for one in content["classes"]] == ["run", "jump"]
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint({"keras", "tensorflow", "jax", "torch", "pandas"})


@pytest.mark.parametrize(
    "option, bins", [("--errors", ["XS", "S", "M", "L", "XL"]), ("--error_bins=data", ["XS"])]
)
def test_program_tells_errors_and_average_recall(files, option, bins):
    done = run_program(
        files, "evaluate", "--ground_truth=gt.json", "--detections=found.json", option,
        "--average_recall", "--output=out.json",
        program=("-X", "importtime", "-m", "keras_actionformer"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Proposals a video" in done.stdout and "false alarms" in done.stdout
    content = json.loads((files / "out.json").read_text())
    assert content["average_recall"]["average_recall"][-1] == 1.0
    # All have a length of 10 s: as many instances in each bin are all in one.
    errors = content["errors"]
    assert errors["sensitivity"]["characteristics"]["length"]["bins"] == bins
    assert errors["confusion"]["labels"] == ["run", "jump", "swim", "background"]
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint({"keras", "tensorflow", "jax", "torch", "pandas", "matplotlib"})


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--ground_truth=gt.json"], "Give --workdir=DIR, or --ground_truth=FILE"),
        (["--workdir=x", "--detections=found.json"], "Give --workdir=DIR, or --ground_truth"),
        (["--workdir=x", "--ensemble=y,z"], "Give --workdir=DIR, or --ground_truth"),
        (["--workdir=x", "--nouns=z"], "--verbs and --nouns, which belong together"),
        (["--workdir=x", "--feats=new"], "--feats is not for --workdir, whose run has its own"),
        (["--workdir=x", "--unequal_streams=to_first"], "--unequal_streams is not for --workdir"),
        (["--ground_truth=gt.json", "--detections=absent.json"], "absent.json"),
        (["--ground_truth=gt.json", "--detections=found.json", "--subset=tset"], "'tset'"),
        (["--ground_truth=gt.json", "--detections=found.json", "--tiou=0.3;0.5"], "--tiou must be"),
        (["--ground_truth=gt.json", "found.json"], "Unknown arguments"),
    ],
)
def test_program_tells_errors_without_traceback(files, arguments, text):
    done = run_program(files, "evaluate", *arguments)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr
