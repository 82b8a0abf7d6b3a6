"""The features of videos: streams joined, widths checked, videos without features."""

import h5py
import numpy as np
import pytest

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.feature_files import StoredSteps
from keras_actionformer.data.features import FeatureFiles, videos_with_features
from keras_actionformer.data.resizing import resize_feats
from keras_actionformer.data.sidecars import Sidecar
from keras_actionformer.errors import UserError


def test_values_are_read_when_they_are_sliced(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((4, 3)))
    with h5py.File(tmp_path / "all.hdf5", "w") as file:
        file.create_dataset("v", data=np.zeros((4, 2)), chunks=(2, 2))
    assert isinstance(FeatureFiles(tmp_path).open("v"), np.memmap)
    assert isinstance(FeatureFiles(tmp_path / "all.hdf5").open("v"), StoredSteps)
    joined = FeatureFiles([tmp_path, tmp_path / "all.hdf5"]).open("v")
    assert joined.shape == (4, 5) and not isinstance(joined, np.ndarray)
    assert joined[1:3].shape == (2, 5)


@pytest.fixture
def streams(tmp_path):
    """Two streams of 4 and 3 channels; the second lacks video `w`."""
    rng = np.random.default_rng(0)
    for name, channels, videos in (("rgb", 4, "vw"), ("flow", 3, "v")):
        (tmp_path / name).mkdir()
        for video_id in videos:
            feats = rng.normal(size=(9, channels)).astype(np.float32)
            np.save(tmp_path / name / f"{video_id}.npy", feats)
    return [tmp_path / "rgb", tmp_path / "flow"]


@pytest.mark.parametrize("feats_dim", [None, 7, (4, 3)])
def test_streams_are_joined_on_the_channels(streams, feats_dim):
    feats = FeatureFiles(streams, feats_dim).load("v")
    expected = np.concatenate([np.load(folder / "v.npy") for folder in streams], axis=1)
    assert feats.dtype == np.float32
    np.testing.assert_array_equal(feats, expected)


def test_streams_of_unequal_lengths_are_told(streams):
    np.save(streams[1] / "v.npy", np.zeros((8, 3)))
    with pytest.raises(UserError, match="rgb/v.npy' and '.*flow/v.npy' must .* but have 9 and 8"):
        FeatureFiles(streams).open("v")


def test_streams_that_hardly_span_the_same_time_are_told_once(streams, caplog):
    features = FeatureFiles(streams, unequal_streams="to_first")
    np.save(streams[1] / "v.npy", np.zeros((72, 3)))
    features.open("v")
    assert not caplog.text
    np.save(streams[1] / "v.npy", np.zeros((1, 3)))
    for _ in range(2):
        features.open("v")
    (record,) = caplog.records
    assert "flow/v.npy' have 9 and 1 steps, which are resized as if" in record.getMessage()


@pytest.mark.parametrize("rule,length", [("to_first", 9), ("to_longest", 12)])
def test_streams_of_unequal_lengths_can_be_resized(streams, rule, length):
    rgb, flow = np.load(streams[0] / "v.npy"), np.ones((12, 3), np.float32)
    flow *= np.sin(np.arange(12, dtype=np.float32))[:, None]
    np.save(streams[1] / "v.npy", flow)
    features = FeatureFiles(streams, (4, 3), unequal_streams=rule)
    feats = features.load("v")
    expected = np.concatenate([resize_feats(x, length) for x in (rgb, flow)], axis=1)
    assert feats.dtype == np.float32
    np.testing.assert_array_equal(feats, expected)
    for steps in (slice(None, None, 2), slice(3, 7), slice(7, 99, 3), slice(5, 5)):
        np.testing.assert_array_equal(features.open("v")[steps], expected[steps])
    flow[3] = np.nan
    np.save(streams[1] / "v.npy", flow)
    with pytest.raises(UserError, match="has a NaN or infinite value at step [23]"):
        features.check("v")
    with pytest.raises(UserError, match="unequal_streams must be one of error, to_first, to_lon"):
        FeatureFiles(streams, unequal_streams="to_shortest")


def test_the_timing_of_resized_streams(streams):
    """That of the stream whose length they get, with the encoders of both."""
    coarse = Sidecar(30.0, 16.0, 32.0, 20.0, 600, {"name": "a"})
    fine = Sidecar(30.0, 4.0, 16.0, 20.0, 600, {"name": "b"})
    coarse.save(streams[0] / "v.npy")
    for rule, grid in (("to_first", coarse.grid), ("to_longest", fine.grid)):
        fine.save(streams[1] / "v.npy")
        found = FeatureFiles(streams, unequal_streams=rule).sidecar("v")
        assert found.grid == grid and found.encoder["name"] == "a + b"
        (streams[1] / "v.json").unlink()
        found = FeatureFiles(streams, unequal_streams=rule).sidecar("v")
        assert found is None if rule == "to_longest" else found.grid == grid
    fine.save(streams[1] / "v.npy")
    with pytest.raises(UserError, match="streams of one video must have the same timing"):
        FeatureFiles(streams).sidecar("v")
    assert FeatureFiles(streams[::-1], unequal_streams="to_first").sidecar("v").grid == fine.grid


def test_wrong_streams(streams):
    with pytest.raises(UserError, match=r"must have 8 channels, but they have 4 \+ 3 = 7"):
        FeatureFiles(streams, 8).open("v")
    with pytest.raises(UserError, match="flow/w.npy' does not exist"):
        FeatureFiles(streams).open("w")
    with pytest.raises(UserError, match="at least one folder"):
        FeatureFiles([])
    with pytest.raises(UserError, match="v.npy' is a file; name the folder"):
        FeatureFiles(streams[0] / "v.npy")


def test_every_stream_has_its_width(streams):
    told = r"rgb/v.npy' must have 3 channels, but has 4; the streams have 4, 3 .* another order"
    with pytest.raises(UserError, match=told):
        FeatureFiles(streams, (3, 4)).open("v")
    with pytest.raises(UserError, match="flow/v.npy' must have 4 channels, but has 3; correct"):
        FeatureFiles(streams, [4, 4]).open("v")


def test_videos_that_lack_a_stream_can_be_left_out(streams, caplog):
    none = np.zeros((0, 2)), np.zeros(0, int)
    videos = [Video(video_id, "training", 9.0, 1.0, *none) for video_id in "vw"]
    with caplog.at_level("WARNING"):
        assert videos_with_features(videos, FeatureFiles(streams)) == (videos[0],)
    assert "1 of 2 videos have no features" in caplog.text and "left out: w" in caplog.text
    with pytest.raises(UserError, match="None of the 2 videos has features: '.*xv.npy' or"):
        videos_with_features(videos, FeatureFiles(streams, prefix="x"))
