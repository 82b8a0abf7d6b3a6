"""Which videos --feats names."""

import numpy as np
import pytest

from keras_actionformer.cli.videos import find_videos
from keras_actionformer.errors import UserError

PRESET = {"feats": "", "prefix": "", "suffix": ""}  # what is known of the files of a preset


@pytest.fixture
def streams(tmp_path):
    """Folders of 2 and 3 channels, and one of both."""
    rng = np.random.default_rng(0)
    for name, channels in (("rgb", 2), ("flow", 3)):
        (tmp_path / name).mkdir()
        for video in ("a", "b"):
            np.save(tmp_path / name / f"{video}.npy", rng.normal(size=(7, channels)))
    (tmp_path / "both").mkdir()
    for video in ("a", "b"):
        parts = [np.load(tmp_path / name / f"{video}.npy") for name in ("rgb", "flow")]
        np.save(tmp_path / "both" / f"{video}.npy", np.concatenate(parts, axis=1))
    return tmp_path


def loaded(videos):
    return {video_id: features.load(name) for video_id, (features, name) in videos.items()}


def test_folders_of_streams_are_joined(streams):
    """As many as the model has streams, in their order; one of all channels is joined already."""
    joined = loaded(find_videos([str(streams / "both")], PRESET, 5, num_streams=2))
    names = [str(streams / "rgb"), str(streams / "flow")]
    found = loaded(find_videos(names, PRESET, 5, num_streams=2))
    assert list(found) == list(joined) == ["a", "b"]
    for video_id, feats in joined.items():
        np.testing.assert_array_equal(found[video_id], feats)
    with pytest.raises(UserError, match="are both 'a'"):  # of a model with one stream
        find_videos(names, PRESET, 5)


def test_a_run_names_its_streams(streams):
    run = {**PRESET, "feats": ["rgb", "flow"], "suffix": ".npy"}
    with pytest.raises(UserError, match="must name 2 folders .* but names 1"):
        find_videos([str(streams / "rgb")], run, 5)


def test_streams_of_unequal_lengths_are_what_the_run_says(streams):
    np.save(streams / "flow" / "a.npy", np.ones((9, 3)))
    run = {**PRESET, "feats": ["rgb", "flow"], "suffix": ".npy"}
    names = [str(streams / "rgb"), str(streams / "flow")]
    for rule, length in (("to_first", 7), ("to_longest", 9)):
        found = loaded(find_videos(names, {**run, "unequal_streams": rule}, 5))
        assert loaded(find_videos(names, run, 5, unequal_streams=rule))["a"].shape == (length, 5)
        assert found["a"].shape == (length, 5) and found["b"].shape == (7, 5)
    with pytest.raises(UserError, match="but have 7 and 9; .* unequal_streams=to_first"):
        loaded(find_videos(names, run, 5))


def test_tables_beside_features_are_something_else(streams):
    rgb = streams / "rgb"
    (rgb / "times.csv").write_text("video,fps\na,25\n")
    assert list(find_videos([str(rgb)], PRESET, 2)) == ["a", "b"]
    tables = streams / "tables"
    tables.mkdir()
    (tables / "c.csv").write_text("1,2\n3,4\n")
    found = loaded(find_videos([str(tables)], PRESET, 2))
    np.testing.assert_array_equal(found["c"], [[1, 2], [3, 4]])
    # Unless the run learnt from tables.
    (rgb / "times.csv").write_text("1,2\n3,4\n")
    found = find_videos([str(rgb)], {**PRESET, "suffix": ".csv"}, 2)
    assert list(found) == ["a", "b", "times"]
