"""Recordings of raw samples, and the windows that become features."""

import os

import numpy as np
import pytest

from keras_actionformer.datasets.sensor_times import evenly_sampled
from keras_actionformer.datasets.sensor_windows import (
    SensorWindows,
    cut_windows,
    load_windows,
    measure_recordings,
    only_writer,
    suggest_windows,
    write_features,
)
from keras_actionformer.datasets.sensors import Recording, find_recordings, read_recording
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
        ("\n,\nx,y\r1.5,-2\r2.5,0\r3.5,1\r4.75,7", ("x", "y"), False),  # as old Macs end lines
        ("a\u2028b,y,\n1.5,-2,\n2.5,0,\n3.5,1,\n4.75,7,\n", ("a\u2028b", "y"), False),
        (b"\xef\xbb\xbfx,y\n1.5,-2\n2.5,0\n3.5,1\n4.75,7\n", ("x", "y"), False),
    ],
)  # fmt: skip
def test_tables(tmp_path, text, channels, has_time):
    found = read(tmp_path, text)
    np.testing.assert_array_equal(found.samples, SAMPLES)
    assert found.samples.dtype == np.float32 and found.channels == channels
    if has_time:
        unit_sec = 1e-3 if "t_ms" in text else 1.0
        np.testing.assert_allclose(found.time * unit_sec, [0, 0.02, 0.04, 0.06])
        assert evenly_sampled("a.csv", found, 50) == (found.samples, False)
        with pytest.raises(
            UserError, match=r"'a.csv' has a sample every 0.02 s, 50 Hz, but --rate_h"
        ):
            evenly_sampled("a.csv", found, 100)
    else:
        assert found.time is None


@pytest.mark.parametrize("header", ["", ",x\n", "Unnamed: 0,x\n", "sample,x\n"])
def test_numbers_of_samples_are_no_channel(tmp_path, header):
    found = read(tmp_path, header + "".join(f"{i},{(7 * i) % 5}\n" for i in range(20)))
    assert found.samples.shape == (20, 1)
    assert not evenly_sampled("a.csv", found, 50)[1]


def test_a_channel_may_be_called_a_number(tmp_path):
    found = read(tmp_path, "sample,x\n" + "".join(f"{(7 * i) % 5},{i}\n" for i in range(20)))
    assert found.samples.shape == (20, 2) and found.time is None


# --- times ---------------------------------------------------------------------------------------


def of_times(time, unit_sec=None):
    """A recording of one channel, that is the time itself in steps of 0.02 s."""
    time = np.asarray(time, np.float64)
    return Recording(((time - time[0]) / 0.02).astype(np.float32)[:, None], ("x",), time, unit_sec)


def test_samples_that_lie_where_they_should_stay_as_they_are():
    even = np.arange(500) * 0.02
    for time in (even, even + 1.7e9, even + np.linspace(0, 0.019, 500), np.round(even, 2)):
        samples, is_interpolated = evenly_sampled("a.csv", of_times(time), 50)
        assert not is_interpolated and len(samples) == 500


@pytest.mark.parametrize("unit_sec", [1.0, 1e-3, 1e-6, 1e-9])
def test_a_clock_that_runs_slow(unit_sec):
    """Of samples every 0.0206 s the channel, read every 0.02 s, counts by one again."""
    time = np.arange(501) * 0.0206 / unit_sec
    for told in (unit_sec, None):
        recording = of_times(time * unit_sec)
        recording = Recording(recording.samples, ("x",), time, told)
        samples, is_interpolated = evenly_sampled("a.csv", recording, 50)
        assert is_interpolated and samples.dtype == np.float32
        np.testing.assert_allclose(samples[:, 0], np.arange(516), rtol=1e-4)


def test_a_clock_that_runs_by_fits():
    rng = np.random.default_rng(0)
    time = np.cumsum(np.where(rng.random(2000) < 0.9, 0.02, 0.06))
    samples, is_interpolated = evenly_sampled("a.csv", of_times(time), 50)
    assert is_interpolated
    np.testing.assert_allclose(samples[:, 0], np.arange(len(samples)), rtol=1e-4)


def test_what_the_sensor_left_out():
    time = np.arange(500) * 0.02
    time[200:] += 30
    with pytest.raises(
        UserError, match=r"'a.csv' leaves out 30.02 s after sample 200 \(1 such gap in all\): cut"
    ):
        evenly_sampled("a.csv", of_times(time), 50)
    numbers = np.arange(500.0)
    numbers[200:] += 100  # a counter of samples, of which 2 s are lacking
    with pytest.raises(UserError, match="leaves out 2.02 s after sample 200"):
        evenly_sampled("a.csv", of_times(numbers), 50)


def test_two_recordings_in_one_file():
    time = np.concatenate([np.arange(300), np.arange(200)]) * 0.02
    with pytest.raises(UserError, match="goes back after sample 300: are these two recordings"):
        evenly_sampled("a.csv", of_times(time), 50)


def test_dates(tmp_path):
    rows = [f"2024-05-01T10:00:{i / 50:09.6f}Z,{i % 7}\n" for i in range(100)]
    found = read(tmp_path, "timestamp,x\n" + "".join(rows))
    np.testing.assert_allclose(found.time, np.arange(100) / 50, atol=1e-9)
    assert not evenly_sampled("a.csv", found, 50)[1]
    with pytest.raises(UserError, match="leaves out 1.22 s after sample 20"):
        late = read(tmp_path, "timestamp,x\n" + "".join(rows[:20] + rows[80:]))
        evenly_sampled("a.csv", late, 50)


@pytest.mark.parametrize(
    "header, before, after",
    [
        ("time", "9:59:59.{}00", "10:00:00.{}00"),
        ("Zeit", "23:59:59,{}", "00:00:00,{}"),  # another day
        ("date;time", "2024-05-01;23:59:59,{}", "2024-05-02;00:00:00,{}"),
    ],
)
def test_times_of_a_day(tmp_path, header, before, after):
    times = [text.format(tenth) for text in (before, after) for tenth in range(10)]
    found = read(tmp_path, f"{header};x\n" + "".join(f"{time};1,5\n" for time in times))
    np.testing.assert_allclose(found.time, np.arange(20) / 10, atol=1e-9)


def test_times_that_cannot_be_read_are_told(tmp_path):
    rows = "".join(f"05/01/24 10.20.{i:02d},{i % 7}\n" for i in range(60))
    (tmp_path / "a.csv").write_text(f"time,x\n{rows}")
    recordings, told = find_recordings(tmp_path), []
    windows = SensorWindows(1, 10, 10, (3.0,), (2.0,))
    write_features(recordings, windows, tmp_path / "f", lambda *args: None, told.append)
    assert "times of 1 recording cannot be read, such as '05/01/24 10.20.00' in" in told[0]


def test_features_tell_of_clocks(tmp_path):
    rng = np.random.default_rng(0)
    for name, step_sec in (("a", 0.02), ("b", 0.0205)):
        time = np.arange(1000) * step_sec
        table = np.column_stack([time, rng.normal(size=1000)])
        np.savetxt(tmp_path / f"{name}.csv", table, "%.6g", ",", header="time,x", comments="")
    recordings, told = find_recordings(tmp_path), []
    mean, std = measure_recordings(recordings, 50, lambda *args: None)
    windows = SensorWindows(50, 10, 10, mean, std)
    write_features(recordings, windows, tmp_path / "f", lambda *args: None, told.append)
    assert told == ["1 recording not sampled evenly: interpolated to 50 Hz by the time column."]
    assert len(np.load(tmp_path / "f" / "a.npy")) == 100
    assert len(np.load(tmp_path / "f" / "b.npy")) == 102  # 20.48 s


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
    np.testing.assert_allclose(found.time, [0, 20, 40, 60])
    assert found.time_unit_sec == 1e-3
    table["time"] = np.array(table.pop("time_ms"), "datetime64[ms]")
    parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    np.testing.assert_allclose(read_recording(tmp_path / "a.parquet").time, [0, 0.02, 0.04, 0.06])


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
        ("x,y\n7,1,2\n8,3,4\n", "first line has 2 columns, but sample 1 3"),  # R's rows have names
        ("x,y\n1,2\n3,4,5\n", "first line has 2 columns, but sample 2 3"),
        ("time,x\nnan,1\n1,2\n", "the time of sample 1 is missing or no finite number"),
        ("time,x\n0,1\n0.02,2\nnan,3\n", "the time of sample 3 is missing"),
        ("date,x\n2024-01-01,1\n,2\n", "the time of sample 2 is missing"),
        (200_000 * "x" + ",y\n1,2\n", "is not a table of numbers .field larger"),
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
    with pytest.raises(UserError, match="b.csv' has 1 channel, but the recordings before have 2"):
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


@pytest.mark.skipif(os.name == "nt", reason="folders have no locks there")
def test_a_folder_has_one_writer(tmp_path):
    with only_writer(tmp_path / "a" / "b"):
        with pytest.raises(UserError, match="b' is being written by another program: wait"):
            with only_writer(tmp_path / "a" / "b"):
                pass
    with only_writer(tmp_path / "a" / "b"):
        assert not list((tmp_path / "a" / "b").iterdir())
