"""Videos that are not scored: neither what is annotated nor what is detected in them counts."""

import dataclasses
import json

import pytest

from helpers.made_up_scores import made_up
from helpers.programs import run_here
from helpers.small_run import small_config, write_data
from keras_actionformer import Annotations, UserError, evaluate, save_annotations, save_detections
from keras_actionformer.evaluation.blocked_videos import load_blocked_videos
from keras_actionformer.training.config import check_config
from keras_actionformer.training.ground_truth import read_annotations, read_ground_truth

NAMES = ("run", "jump", "sit")


def write_blocked(path, content):
    path.write_text(json.dumps(content))
    return path


def test_scores_are_those_of_the_other_videos(tmp_path):
    scored = made_up(num_videos=6, names=NAMES)
    videos = [dataclasses.replace(v, video_id=f"v{i}") for i, v in enumerate(scored.videos)]
    found = {f"v{i}": one for i, one in enumerate(scored.detections.values())}
    save_annotations(tmp_path / "truth.json", Annotations(tuple(videos), NAMES))
    save_detections(tmp_path / "found.json", found)
    write_blocked(tmp_path / "blocked.json", ["v1", "v4", "elsewhere"])
    kept = [v for v in videos if v.video_id not in ("v1", "v4")]
    expected = evaluate(kept, {v.video_id: found[v.video_id] for v in kept}, class_names=NAMES)
    everything = evaluate(videos, found, class_names=NAMES)
    assert expected.average_mean_ap != everything.average_mean_ap
    files = ("--ground_truth=truth.json", "--detections=found.json", "--output=scores.json")
    for options, wanted in (
        (["--blocked_videos=blocked.json"], expected),
        ([], everything),
    ):
        done = run_here(tmp_path, "evaluate", *files, *options)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{wanted}\n"
    # What is detected in blocked videos is no false positive either.
    assert expected.num_detections_outside == 0


def test_a_configuration_names_the_file(tmp_path):
    write_data(tmp_path)
    config = small_config(tmp_path)
    config.data.blocked_videos = str(write_blocked(tmp_path / "blocked.json", ["v5", "v0"]))
    truth, _ = read_ground_truth(config)
    assert [v.video_id for v in truth.videos] == ["v1", "v2", "v3", "v4"]
    assert len(read_annotations(config).videos) == 6  # which trains
    check_config(config)
    config.data.blocked_videos = "none.json"
    with pytest.raises(UserError, match="data.blocked_videos is 'none.json', which does not exist"):
        check_config(config)


@pytest.mark.parametrize(
    "content, text",
    [
        ({"v1": True}, "must be a list of ids"),
        ([1, 2], "must be a list of ids"),
        (["v_v1.mp4"], "writes 'v_v1.mp4' for 'v1'"),
    ],
)
def test_wrong_files(tmp_path, content, text):
    path = write_blocked(tmp_path / "blocked.json", content)
    with pytest.raises(UserError, match=text):
        load_blocked_videos(path, ["v1", "v2"])
    assert load_blocked_videos(write_blocked(path, []), ["v1"]) == frozenset()
    assert load_blocked_videos(write_blocked(path, ["b", "v1"]), ["v1"]) == {"b", "v1"}


def test_a_file_that_blocks_nothing_is_told(tmp_path, caplog):
    path = write_blocked(tmp_path / "blocked.json", ["a", "b"])
    assert load_blocked_videos(path, ["v1", "v2"]) == {"a", "b"}
    assert "blocked.json' names none of the 2 videos: all are scored" in caplog.text
