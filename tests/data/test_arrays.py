"""Arrays of features: what is read of a long one stays on disk."""

import pathlib

import numpy as np
import pytest

from keras_actionformer.data.arrays import not_finite, read_steps


def _status_mb(key):
    with open("/proc/self/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith(key))) / 1024


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="reads Linux' /proc")
def test_a_memory_map_is_read_and_not_kept(tmp_path):
    file = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", "float16", (8192, 4096))
    file[5000, 7] = np.nan
    del file
    feats = np.load(tmp_path / "v.npy", mmap_mode="r")
    before = _status_mb("RssFile")
    assert not_finite(feats) == (1, 5000)
    assert read_steps(feats, 4999, 5002).dtype == "float32"
    assert _status_mb("RssFile") - before < 10
    feats.max()
    assert _status_mb("RssFile") - before > 50
    assert not_finite(feats[:, ::2]) == (0, None)  # gives the pages of all back, too
    assert _status_mb("RssFile") - before < 10
    # What a copy-on-write map alone holds is not lost.
    changed = np.load(tmp_path / "v.npy", mmap_mode="c")
    changed[3] = 1
    assert not_finite(changed) == (1, 5000) and changed[3].sum() == 4096


def test_a_copy_of_a_memory_map_is_in_memory_whatever_numpy_calls_it(tmp_path):
    np.save(tmp_path / "v.npy", np.ones((5, 2), "float16"))
    copy = np.load(tmp_path / "v.npy", mmap_mode="r").astype("float32")
    assert isinstance(copy, np.memmap)
    assert read_steps(copy, 1, 3).tolist() == [[1, 1], [1, 1]]
