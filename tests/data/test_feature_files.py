"""Feature files of every format: what they may hold, and what can be wrong with them."""

import os
import pickle

import h5py
import numpy as np
import pytest

from helpers.torch_writer import write_checkpoint
from keras_actionformer.data.feature_files import StoredSteps
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.detection.inputs import open_sequences
from keras_actionformer.errors import UserError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_feature_types(tmp_path, dtype, suffix):
    stored = np.arange(12).reshape(4, 3).astype(dtype)
    save_feats(tmp_path / f"x_v{suffix}", stored)
    feats = FeatureFiles(tmp_path, feats_dim=3, prefix="x_", suffix=suffix).load("v")
    assert feats.dtype == np.float32 and feats.flags["C_CONTIGUOUS"] and feats.flags["WRITEABLE"]
    np.testing.assert_array_equal(feats, stored)


def save_feats(path, feats):
    if path.suffix == ".npz":
        np.savez(path, feats=feats)
    else:
        np.save(path, feats)


BAD_VALUE = np.zeros((9, 3))
BAD_VALUE[4, 1] = np.inf
BAD_VALUE[7, 2] = np.nan


@pytest.mark.parametrize(
    "feats,text",
    [
        (np.zeros(3), r"must have the shape \(time steps, channels\), but it is \(3,\)"),
        (np.zeros((1, 3, 4)), r"but it is \(1, 3, 4\)"),
        (np.zeros((0, 3)), r"is empty: its shape is \(0, 3\)"),
        (np.zeros((3, 8)), r"its shape is \(3, 8\); it seems to be transposed"),
        (np.zeros((8, 4)), "must have 3 channels.*correct feats_dim"),
        (np.full((2, 3), "a"), "must hold real numbers"),
        (np.zeros((2, 3), np.complex64), "must hold real numbers"),
        (np.array([[None, "x", 1]], object), "cannot be read as a NumPy array"),
        (BAD_VALUE, r"NaN or infinite value at step 4 \(2 of 9 steps\)"),
        (np.full((5, 3), 1e300), r"NaN or infinite value at step 0 \(5 of 5 steps\)"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_wrong_features(tmp_path, feats, text, suffix):
    save_feats(tmp_path / f"v{suffix}", feats)
    with pytest.raises(UserError, match=text):
        FeatureFiles(tmp_path, feats_dim=3, suffix=suffix).load("v")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("keep_bytes", [0, 5, 90, 200])
def test_broken_files(tmp_path, suffix, keep_bytes):
    path = tmp_path / f"v{suffix}"
    save_feats(path, np.ones((50, 3)))
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(UserError, match=f"v{suffix}' cannot be read"):
        FeatureFiles(tmp_path, suffix=suffix).load("v")


def test_npz_without_feats(tmp_path):
    np.savez(tmp_path / "v.npz", features=np.ones((2, 3)))
    with pytest.raises(UserError, match="no array 'feats', only 'features'"):
        FeatureFiles(tmp_path, suffix=".npz").load("v")


def test_missing_features(tmp_path):
    np.save(tmp_path / "video_0001.npy", np.ones((2, 3)))
    with pytest.raises(UserError, match="holds 1 .*did you mean 'video_0001.npy'"):
        FeatureFiles(tmp_path).load("video_001")
    with pytest.raises(UserError, match="does not exist"):
        FeatureFiles(tmp_path).load("folder/video")
    with pytest.raises(UserError, match="Feature folder '.*none' does not exist"):
        FeatureFiles(tmp_path / "none")
    with pytest.raises(UserError, match="suffix must end in .npy, .npz, .pt, .pth, .csv or .pkl"):
        FeatureFiles(tmp_path, suffix=".mat")


def test_many_missing_features_list_their_folder_once(tmp_path, monkeypatch):
    for i in range(20):
        np.save(tmp_path / f"video_{i:04}.npy", np.ones((2, 3)))
    features, listed, listdir = FeatureFiles(tmp_path, prefix="x_"), [], os.listdir
    monkeypatch.setattr("os.listdir", lambda folder: listed.append(folder) or listdir(folder))
    for i in range(20):
        # A name is near though it begins otherwise.
        with pytest.raises(UserError, match=f"holds 20 .*did you mean 'video_{i:04}.npy'"):
            features.open(f"video_{i:04}")
    assert len(listed) == 1


def test_a_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "v.npy").mkdir()
    assert not FeatureFiles(tmp_path).has("v")
    with pytest.raises(UserError, match="v.npy' is a folder; put the file"):
        FeatureFiles(tmp_path).open("v")


def test_what_is_there_and_no_file(tmp_path):
    """It is no misspelt name."""
    (tmp_path / "gone.npy").symlink_to("/nowhere/gone.npy")
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    os.mkfifo(tmp_path / "pipe.npy")
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "folder.h5").mkdir()
    for name, told in (
        ("gone", "is a link to '/nowhere/gone.npy', where no file is"),
        ("loop", "is a link to 'loop.npy', where no file is"),
        ("pipe", "is a pipe or a device; it must be a file"),
    ):
        with pytest.raises(UserError, match=f"{name}.npy' {told}"):
            FeatureFiles(tmp_path).load(name)
    with pytest.raises(UserError, match="pipe.h5' is a pipe or a device"):
        FeatureFiles(tmp_path / "pipe.h5").load("v")
    with pytest.raises(UserError, match="folder.h5' is a folder, .* must be an HDF5 file"):
        FeatureFiles(tmp_path / "folder.h5").load("v")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.uint8])
def test_hdf5(tmp_path, dtype):
    stored = np.arange(12).reshape(4, 3).astype(dtype)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["x_v"] = stored
        file["packed"] = h5py.Empty("f4")
        file.create_dataset("x_w", data=stored, chunks=(2, 3), compression="gzip")
    features = FeatureFiles(tmp_path / "all.h5", feats_dim=3, prefix="x_")
    for video_id in ("v", "w"):
        feats = features.load(video_id)
        assert feats.dtype == np.float32 and feats.flags["C_CONTIGUOUS"]
        np.testing.assert_array_equal(feats, stored)
        np.testing.assert_array_equal(features.open(video_id)[1:4:2], stored[1:4:2])
        assert features.has(video_id)
    assert not features.has("u")


@pytest.mark.parametrize("options", [{}, {"userblock_size": 512}, {"libver": "latest"}])
def test_hdf5_is_mapped_where_it_can_be(tmp_path, options):
    stored = np.random.default_rng(0).normal(size=(50, 7)).astype("float32")
    with h5py.File(tmp_path / "all.h5", "w", **options) as file:
        for dtype in ("<f4", ">f8", "<f2", "<i2"):
            file[dtype] = stored.astype(dtype)
        file.create_dataset("chunks", data=stored, chunks=(10, 3))
        file.create_dataset("compressed", data=stored, compression="gzip")
        _create(file, "compact", stored, h5py.h5t.IEEE_F32LE, h5py.h5d.COMPACT)
        bfloat16 = h5py.h5t.IEEE_F32LE.copy()  # which NumPy has no type for
        bfloat16.set_fields(15, 7, 8, 0, 7)
        bfloat16.set_size(2)
        _create(file, "bfloat16", stored, bfloat16, h5py.h5d.CONTIGUOUS)
    features = FeatureFiles(tmp_path / "all.h5")
    for dtype in ("<f4", ">f8", "<f2", "<i2"):
        assert isinstance(features.open(dtype), np.memmap)
        np.testing.assert_array_equal(features.open(dtype), stored.astype(dtype))
    for name in ("chunks", "compressed", "compact"):
        assert isinstance(features.open(name), StoredSteps)
        np.testing.assert_array_equal(features.load(name), stored)
    assert isinstance(features.open("bfloat16"), StoredSteps)
    np.testing.assert_allclose(features.load("bfloat16"), stored, rtol=0.01)


def _create(file, name, array, dtype, layout):
    """Writes a data set of a type and a layout that h5py has no arguments for."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(layout)
    space = h5py.h5s.create_simple(array.shape)
    created = h5py.h5d.create(file.id, name.encode(), dtype, space, properties)
    created.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_torch_files(tmp_path, suffix):
    stored = np.arange(12, dtype=np.float16).reshape(4, 3)
    write_checkpoint(tmp_path / f"v{suffix}", stored)
    write_checkpoint(tmp_path / f"w{suffix}", {"feats": stored})
    features = FeatureFiles(tmp_path, feats_dim=3, suffix=suffix)
    for video_id in ("v", "w"):
        feats = features.load(video_id)
        assert feats.dtype == np.float32 and feats.flags["WRITEABLE"]
        np.testing.assert_array_equal(feats, stored)


STEPS = np.array([[1.5, -2, 0], [2.5, 0, 1e-3], [3, 1, 2], [4.75, 7, 9]])
ROWS = "1.5,-2,0\n2.5,0,1e-3\n3,1,2\n4.75,7,9\n"


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        f"f0,f1,f2\n{ROWS}",
        f"\ufefff0,f1,f2\n{ROWS}\n",
        f"0,1,2\n{ROWS}",  # as pandas calls columns without names
        ROWS.replace(",", "\t"),
        ROWS.replace(",", " "),
        ROWS.replace(",", ";").replace(".", ","),
        ",f0,f1,f2\n0,1.5,-2,0\n1,2.5,0,1e-3\n2,3,1,2\n3,4.75,7,9\n",  # and how it counts rows
        ",0,1,2\n0,1.5,-2,0\n1,2.5,0,1e-3\n2,3,1,2\n3,4.75,7,9\n",  # both
    ],
)
def test_csv_files(tmp_path, text):
    (tmp_path / "x_v.csv").write_text(text, encoding="utf-8")
    feats = FeatureFiles(tmp_path, 3, "x_", ".csv").load("v")
    assert feats.dtype == np.float32
    np.testing.assert_array_equal(feats, STEPS.astype(np.float32))


def test_csv_files_of_two_channels_have_no_hidden_header(tmp_path):
    (tmp_path / "v.csv").write_text("0,1\n1,0\n")
    np.testing.assert_array_equal(FeatureFiles(tmp_path, suffix=".csv").load("v"), [[0, 1], [1, 0]])


@pytest.mark.parametrize(
    "text,told",
    [
        ("", "Feature file '.*v.csv' is empty"),
        ("a,b,c\n", "holds no rows"),
        ("1,2,3\n1,2\n", "first line has 3 columns, but row 2 2"),
        ("1,2,3\n1,x,3\n", "is not a table of numbers"),
        ("1.5,#REF!,3\n1,2,3\n", "numbers in its first line, such as '1.5', but also '#REF!'"),
        (",2,3\n1,2,3\n", "first line, such as '2', but also ''"),
        ("1,5;2;3\n1;2;3\n", "first line, such as '2', but also '1,5'"),
        ("1,2,3\n1,nan,3\n", "NaN or infinite value at step 1"),
        ("1,2\n", r"must have 3 channels, but its shape is \(1, 2\)"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_wrong_csv_files(tmp_path, text, told):
    (tmp_path / "v.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=told):
        FeatureFiles(tmp_path, 3, suffix=".csv").load("v")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "saved",
    [
        STEPS,
        np.asfortranarray(STEPS.astype(np.float32)),
        {"feats": STEPS, "other": STEPS[:2]},
        {b"fps": 30, "v": STEPS},
        STEPS.tolist(),
        list(STEPS),
        {"feats": STEPS.tolist()},
    ],
)
def test_pickles(tmp_path, saved, protocol):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(saved, protocol))
    feats = FeatureFiles(tmp_path, 3, suffix=".pkl").load("v")
    np.testing.assert_array_equal(feats, STEPS.astype(np.float32))
    assert feats.dtype == np.float32 and feats.flags["WRITEABLE"]


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


_SHARED_ROW = [0.5] * 30_000


@pytest.mark.parametrize(
    "saved,told",
    [
        (Evil(), r"v.pkl: it asks for '(posix|nt).system', which is not plain data; nothing of it"),
        ({"feats": STEPS, "x": {1, 2}}, "EMPTY_SET, which plain data does not need"),
        ({"a": STEPS, "b": STEPS}, r"one array, alone or in a dict .* holds 2 \('a', 'b'\)"),
        ({"a": 1}, "holds a dict without one; pickle the array alone"),
        ("text", "holds a str without one"),
        ([[1, 2, 3], [1, 2]], r"no table of numbers \(its rows have 2 to 3 numbers\)"),
        ([[1, 2, 3], ["1", "2", "3"]], "a row of it has something that is no number"),
        ([[1, 2, 10**400]], "is no table of numbers"),
        ([_SHARED_ROW] * 30_000, "it claims 7.2 GB of numbers but stores"),
        ([], "is empty"),
        ([1.0, 2.0], "holds a list without one"),
        (STEPS[0], "must have the shape"),
        (np.array([["a"]]), "must hold real numbers"),
        (np.array([[None]], object), "not plain numbers or text"),
        (STEPS[:, :2], "must have 3 channels"),
        (np.full((2, 3), np.nan), "NaN or infinite value at step 0"),
    ],
)
def test_wrong_pickles(tmp_path, saved, told):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(saved))
    with pytest.raises(UserError, match=told):
        FeatureFiles(tmp_path, 3, suffix=".pkl").load("v")
    assert not os.path.exists("evil")


@pytest.mark.parametrize("keep_bytes", [0, 5, 90, 140])
def test_broken_pickles(tmp_path, keep_bytes):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(STEPS)[:keep_bytes])
    with pytest.raises(UserError, match="v.pkl: it is"):
        FeatureFiles(tmp_path, suffix=".pkl").load("v")


@pytest.mark.parametrize(
    "stored,text",
    [
        (np.zeros(3), r"all.h5/v' must have the shape \(time steps, channels\)"),
        (np.zeros((0, 3)), "is empty"),
        (np.zeros((3, 8)), "it seems to be transposed"),
        (np.full((2, 3), np.nan), "NaN or infinite value at step 0"),
        ("text", "must hold real numbers"),
        (h5py.Empty("f4"), "must have the shape"),
    ],
)
def test_wrong_hdf5_data(tmp_path, stored, text):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["v"] = stored
    with pytest.raises(UserError, match=text):
        FeatureFiles(tmp_path / "all.h5", feats_dim=3).load("v")


def test_wrong_hdf5_files(tmp_path):
    path = tmp_path / "all.h5"
    with pytest.raises(UserError, match="all.h5' does not exist"):
        FeatureFiles(path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="all.h5' cannot be read as HDF5"):
        FeatureFiles(path)
    with h5py.File(path, "w") as file:
        file["video_1"] = np.zeros((2, 3))
        file["group/inner/x"] = np.zeros((2, 3))
    features = FeatureFiles(path)
    with pytest.raises(UserError, match="no data set 'video_11', of 2; did you mean 'video_1'"):
        features.load("video_11")
    with pytest.raises(UserError, match="group 'group' without a data set .* it holds 'inner'"):
        features.load("group")


def test_hdf5_files_with_a_group_a_video(tmp_path):
    """As that of ActivityNet's C3D features, whose groups are called v_<id>."""
    path = tmp_path / "c3d.hdf5"
    stored = np.arange(12, dtype=np.float32).reshape(4, 3)
    with h5py.File(path, "w") as file:
        for i, video_id in enumerate(("a", "b")):
            file[f"v_{video_id}/c3d_features"] = stored + i
        file.create_group("v_empty")
    features = FeatureFiles(path, 3, prefix="v_")
    assert features.video_ids() == ["a", "b"] and features.has("b") and not features.has("c")
    np.testing.assert_array_equal(features.load("b"), stored + 1)
    assert isinstance(features.open("a"), np.memmap)
    np.testing.assert_array_equal(features.open("a")[1:3], stored[1:3])
    with pytest.raises(UserError, match="group 'v_empty' without a data set .* it holds nothing"):
        features.load("empty")


def test_a_named_type_is_no_data_set(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.dtype("float32")
    with pytest.raises(
        UserError, match=r"has a type 'a' where a data set \(time steps, channels\)"
    ):
        FeatureFiles(tmp_path / "a.h5").load("a")


def test_groups_of_several_data_sets(tmp_path):
    path = tmp_path / "all.h5"
    with h5py.File(path, "w") as file:
        for video_id in ("a", "b"):
            file[f"{video_id}/flow"], file[f"{video_id}/rgb"] = np.zeros((4, 2)), np.ones((4, 3))
        file["c/flow"] = np.zeros((4, 2))
        file["d/rgb"] = h5py.SoftLink("/nowhere")
        file["mean"] = np.zeros((1, 3))  # of no video, as it has no "rgb"
    with pytest.raises(UserError, match=r"'a' of 2 data sets \('flow', 'rgb'\); say .*='/flow'"):
        FeatureFiles(path).load("a")
    features = FeatureFiles(path, suffix="/rgb")
    assert features.video_ids() == ["a", "b"] and features.load("b").all()
    both = FeatureFiles([path, path], (2, 3), suffix="/flow")
    with pytest.raises(UserError, match="must have 3 channels, but has 2"):
        both.load("a")
    for video_id in ("c", "d"):
        with pytest.raises(UserError, match=f"group '{video_id}' without the data set 'rgb'"):
            features.load(video_id)


def test_an_hdf5_link_that_leads_nowhere(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["v"] = h5py.SoftLink("/x")
    features = FeatureFiles(tmp_path / "all.h5")
    assert not features.has("v")
    with pytest.raises(UserError, match="all.h5' has a link 'v' that leads nowhere"):
        features.load("v")


def test_the_videos_of_a_folder_or_file(tmp_path):
    for name in ("x_b_f.npy", "x_a_f.npy", "x_a.npy", "y_c_f.npy"):
        np.save(tmp_path / name, np.zeros((2, 3)))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["x_b"] = file["x_a"] = file["y"] = np.zeros((2, 3))
        file["x_link"] = h5py.SoftLink("/nowhere")  # told when it is loaded
        file["x_group/notes"] = np.zeros((2, 3))  # of something else, beside data sets
    assert FeatureFiles(tmp_path, prefix="x_", suffix="_f.npy").video_ids() == ["a", "b"]
    assert FeatureFiles(tmp_path / "all.h5", prefix="x_").video_ids() == ["a", "b", "link"]
    for folder, text in (
        (tmp_path, "no features with a name z_<video id>.npy"),
        (tmp_path / "all.h5", "no data set, or group of one, with a name z_<video id>"),
    ):
        with pytest.raises(UserError, match=f"'{folder}' holds {text}"):
            FeatureFiles(folder, prefix="z_").video_ids()


def test_a_damaged_hdf5_data_set(tmp_path):
    path = tmp_path / "all.h5"
    with h5py.File(path, "w") as file:
        packed = file.create_dataset(
            "v", data=np.arange(6000.0).reshape(2000, 3), chunks=(2000, 3), compression="gzip"
        )
        place = packed.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(UserError, match="all.h5/v' cannot be read"):
        FeatureFiles(path).load("v")


def test_hidden_files_are_no_videos(tmp_path):
    for name in ("a.npy", ".a.12.part.npy", "._a.npy"):
        np.save(tmp_path / name, np.zeros((2, 3)))
    assert FeatureFiles(tmp_path).video_ids() == ["a"]


def test_any_name_that_the_system_has_is_read(tmp_path):
    folder = os.fsencode(tmp_path)
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    os.rename(folder + b"/a.npy", folder + b"/T\xfcr, new\n.npy")  # Latin-1, as an old zip unpacks
    (video_id,) = FeatureFiles(tmp_path).video_ids()
    assert video_id == "T\udcfcr, new\n" and FeatureFiles(tmp_path).load(video_id).all()


@pytest.mark.parametrize(
    "video_id,text",
    [
        ("../a", "leads out of"),
        ("/etc/a", "leads out of"),
        ("x\0", "No file can be called"),
        ("\ud800", "No file can be called"),
        ("x" * 5000, "does not exist"),
    ],
)
def test_ids_stay_in_their_folder(tmp_path, video_id, text):
    (tmp_path / "feats").mkdir()
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    with pytest.raises(UserError, match=text):
        FeatureFiles(tmp_path / "feats").load(video_id)


def test_hdf5_that_was_written_in_part(tmp_path):
    """As by a program that was killed, after it had told HDF5 how large all would be."""
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_dataset("one_piece", (50, 7), "f4")
        file.create_dataset("no_chunk", (50, 7), "f4", chunks=(20, 4))
        file.create_dataset("some_chunks", (50, 7), "f4", chunks=(20, 4))[:40] = 1
    features = FeatureFiles(tmp_path / "all.h5")
    for name, told in (
        ("one_piece", "nothing of it was written"),
        ("no_chunk", "nothing of it was written"),
        ("some_chunks", "only 4 of its 6 chunks were written"),
    ):
        with pytest.raises(UserError, match=rf"{name}' is not whole: {told}.* write it again"):
            features.load(name)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_hdf5_that_is_cut_short_while_it_is_read(tmp_path, compression):
    path, stored = tmp_path / "all.h5", np.random.default_rng(0).normal(size=(500, 7))
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=stored, chunks=(20, 7), compression=compression)
    feats = FeatureFiles(path).open("v")
    path.rename(tmp_path / "old.h5")
    np.testing.assert_array_equal(feats[:], stored)  # what was opened
    path.write_bytes(b"of another file")
    np.testing.assert_array_equal(feats[:], stored)
    (tmp_path / "old.h5").rename(path)
    os.truncate(path, path.stat().st_size // 2)
    told = "all.h5/v' (was cut short while it was read|cannot be read .* copy)"
    for read in (lambda: feats[:], lambda: open_sequences(feats, 7)):
        with pytest.raises(UserError, match=told):
            read()


def test_hdf5_by_a_filter_that_is_not_here(tmp_path):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4, 3))
    properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())  # Blosc's number
    space = h5py.h5s.create_simple((4, 3))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        for name, skipped_filters in ((b"packed", 0), (b"plain", 1)):
            created = h5py.h5d.create(file.id, name, h5py.h5t.IEEE_F32LE, space, properties)
            created.write_direct_chunk((0, 0), np.ones((4, 3), "<f4").tobytes(), skipped_filters)
    features = FeatureFiles(tmp_path / "all.h5")
    assert (features.load("plain") == 1).all()  # it says that this chunk went through no filter
    with pytest.raises(UserError, match=r"packed' cannot be read .* no filter 32001.* without"):
        features.load("packed")


def test_what_hdf5_features_may_not_be(tmp_path):
    path = tmp_path / "all.h5"
    for make, text in (
        (lambda file: file.create_dataset("v", (10, 8), "u1", external=[("/etc/passwd", 0, 80)]),
         "takes numbers from other files"),
        (lambda file: file.create_dataset("v", (2**45, 32), "f4", chunks=(65536, 32)),
         "it claims 4504 TB of numbers"),
        (lambda file: file.update(v=h5py.ExternalLink("other.h5", "/x")), "leads to another file"),
    ):  # fmt: skip
        with h5py.File(path, "w") as file:
            make(file)
        with pytest.raises(UserError, match=f"all.h5' cannot be read as HDF5 .*{text}"):
            FeatureFiles(path)
