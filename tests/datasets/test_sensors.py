"""Recordings of raw samples, and the windows that become features."""

import numpy as np
import pytest

from keras_actionformer.datasets.sensor_windows import (
    SensorWindows,
    cut_windows,
    load_windows,
    measure_recordings,
    suggest_windows,
    write_features,
)
from keras_actionformer.datasets.sensors import check_rate, find_recordings, read_recording
from keras_actionformer.errors import UserError

SAMPLES = np.array([[1.5, -2], [2.5, 0], [3.5, 1], [4.75, 7]], np.float32)


def read(tmp_path, text, name="a.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_recording(tmp_path / name)


@pytest.mark.parametrize(
    "text, channels, has_time",
    [
        ("1.5,-2\n2.5,0\n3.5,1\n4.75,7\n", (), False),
        ("x,y\n1.5,-2\n2.5,0\n3.5,1\n4.75,7\n", ("x", "y"), False),
        ("1.5;-2\r\n2.5;0\r\n3.5;1\r\n4.75;7", (), False),
        ("x;y\n1,5;-2\n2,5;0\n3,5;1\n4,75;7\n", ("x", "y"), False),  # decimal commas
        ("x\ty\n1,5\t-2\n2,5\t0\n3,5\t1\n4,75\t7\n", ("x", "y"), False),
        (" 1.5 -2\n 2.5  0\n3.5 1\n4.75 7\n", (), False),
        ("0.00,1.5,-2\n0.02,2.5,0\n0.04,3.5,1\n0.06,4.75,7\n", (), True),
        ("Time (s),x,y\n0,1.5,-2\n0.02,2.5,0\n0.04,3.5,1\n0.06,4.75,7\n", ("x", "y"), True),
        ("x,t_ms,y\n1.5,0,-2\n2.5,20,0\n3.5,40,1\n4.75,60,7\n", ("x", "y"), True),
        ("date,x,y\n1-1-1,1.5,-2\n1-1-2,2.5,0\n1-1-3,3.5,1\n1-1-4,4.75,7", ("x", "y"), False),
        (b"\xef\xbb\xbfx,y\n1.5,-2\n2.5,0\n3.5,1\n4.75,7\n", ("x", "y"), False),
    ],
)  # fmt: skip
def test_tables(tmp_path, text, channels, has_time):
    found = read(tmp_path, text)
    np.testing.assert_array_equal(found.samples, SAMPLES)
    assert found.samples.dtype == np.float32 and found.channels == channels
    if has_time:
        np.testing.assert_allclose(found.time_sec, [0, 0.02, 0.04, 0.06])
        check_rate("a.csv", found, 50)
        with pytest.raises(
            UserError, match=r"'a.csv' has a sample every 0.02 s, 50 Hz, but --rate_h"
        ):
            check_rate("a.csv", found, 100)
    else:
        assert found.time_sec is None


def test_numbers_of_samples_are_no_channel(tmp_path):
    found = read(tmp_path, "".join(f"{i},{(7 * i) % 5}\n" for i in range(20)))
    assert found.samples.shape == (20, 1)
    check_rate("a.csv", found, 50)


def test_arrays(tmp_path):
    for array in (SAMPLES, SAMPLES.astype(np.float64), (SAMPLES * 4).astype(np.int16)):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_recording(tmp_path / "a.npy").samples, array)
    np.save(tmp_path / "a.npy", SAMPLES[:, 0])
    np.testing.assert_array_equal(read_recording(tmp_path / "a.npy").samples, SAMPLES[:, :1])


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = {"time_ms": [0, 20, 40, 60], "x": SAMPLES[:, 0], "y": SAMPLES[:, 1]}
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    found = read_recording(tmp_path / "a.parquet")
    np.testing.assert_array_equal(found.samples, SAMPLES)
    assert found.channels == ("x", "y")
    np.testing.assert_allclose(found.time_sec, [0, 0.02, 0.04, 0.06])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "'.*a.csv' is empty"),
        ("\n \n", "is empty"),
        ("x,y\n", "holds no samples"),
        ("x,y\n1,2\n3\n", "is not a table of numbers"),
        ("x,y\n1,2\n3,fast\n", "is not a table of numbers .*fast"),
        ("x,y\n1,2\n3,nan\n", "sample 2 of channel y is no finite number"),
        ("1,2\ninf,4\n", "sample 2 of channel number 1 is no finite number"),
        ("x,y\n1,2\n3,\n", "is not a table of numbers"),
        ("time\n0\n1\n2\n", "has a time column and no channel beside it"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        ("x,y\n1e999,2\n", "no finite number"),
    ],
)
def test_what_is_no_recording(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2, 2)), np.zeros((0, 2)), np.array(["a"]), np.array(1.0)]
)
def test_arrays_that_are_no_recording(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match="must hold numbers of shape"):
        read_recording(tmp_path / "a.npy")


def test_damaged_array(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01")
    with pytest.raises(UserError, match="cannot be read as a NumPy array"):
        read_recording(tmp_path / "a.npy")


def test_folders(tmp_path):
    with pytest.raises(UserError, match="is no folder"):
        find_recordings(tmp_path / "none")
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(UserError, match="holds no recordings"):
        find_recordings(tmp_path)
    for name in ("b.csv", "a.CSV", ".hidden.csv"):
        (tmp_path / name).write_text("1\n")
    assert list(find_recordings(tmp_path)) == ["a", "b"]
    (tmp_path / "a.npy").write_text("")
    with pytest.raises(UserError, match="are two recordings of one name"):
        find_recordings(tmp_path)


# --- windows -------------------------------------------------------------------------------------


def test_windows_by_hand():
    feats = cut_windows(SAMPLES, 3, 1)
    # Channel by channel, the first window and the second.
    np.testing.assert_array_equal(feats, [[1.5, 2.5, 3.5, -2, 0, 1], [2.5, 3.5, 4.75, 0, 1, 7]])
    assert len(cut_windows(SAMPLES, 2, 2)) == 2 and len(cut_windows(SAMPLES, 2, 3)) == 1


def test_no_channel_is_lost_beside_one_of_larger_numbers(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        samples = rng.normal([5, -1e6], [1e-3, 1e5], (100, 2))
        np.savetxt(tmp_path / f"{name}.csv", samples, delimiter=",", fmt="%.9g")
    recordings, told = find_recordings(tmp_path), []
    mean, std = measure_recordings(recordings, 50, lambda *args: told.append(args))
    assert told == [(1, 2, "recordings"), (2, 2, "recordings")]
    windows = SensorWindows(50, 10, 5, mean, std)
    write_features(recordings, windows, tmp_path / "feats", lambda *args: None)
    feats = np.load(tmp_path / "feats" / "a.npy")
    assert feats.shape == (19, 20) and windows.feats_dim == 20 and windows.grid.step_sec == 0.1
    assert 0.5 < feats[:, :10].std() < 2 and 0.5 < feats[:, 10:].std() < 2
    # A recording that comes later has the same numbers.
    again = load_windows(tmp_path / "feats")
    assert again == windows
    with pytest.raises(UserError, match="Recording c has 3 channels, but the others have 2"):
        again.features(np.zeros((20, 3), np.float32), "c")
    with pytest.raises(UserError, match="has 4 samples, less than one window of 10"):
        again.features(SAMPLES, "d")


def test_recordings_that_do_not_go_together(tmp_path):
    (tmp_path / "a.csv").write_text("1,2\n3,5\n")
    (tmp_path / "b.csv").write_text("1\n2\n")
    with pytest.raises(UserError, match="b.csv' has 1 channels, but the recordings before have 2"):
        measure_recordings(find_recordings(tmp_path), 50, lambda *args: None)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n7,2\n")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n7,2\n")
    with pytest.raises(UserError, match="Channel y has the same number in all recordings"):
        measure_recordings(find_recordings(tmp_path), 50, lambda *args: None)


@pytest.mark.parametrize(
    "lengths_sec, rate_hz, expected",
    [
        ([4.0] * 20, 50, (50, 25)),  # an eighth of 4 s; windows of one second
        ([2.0] * 20, 50, (50, 12)),
        ([0.4] * 20, 50, (20, 2)),  # windows as long as the actions
        ([100.0] * 20, 50, (50, 25)),  # at most half a second
        ([0.01] * 20, 50, (2, 1)),  # at least a sample
        ([0.4] + [100.0] * 99, 50, (50, 25)),  # one in a hundred is not what steps are for
        ([4.0] * 20, 2, (2, 1)),
    ],
)
def test_suggested_windows(lengths_sec, rate_hz, expected):
    assert suggest_windows(np.array(lengths_sec), rate_hz) == expected
    assert suggest_windows(np.array(lengths_sec), 50, window_sec=2, step_sec=0.1) == (100, 5)
