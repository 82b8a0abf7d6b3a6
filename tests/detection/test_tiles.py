"""Tiles of long sequences: what a point sees, and that tiles find what one pass finds."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.models import to_numpy
from helpers.programs import run_here
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.batching import pad_batch
from keras_actionformer.detection.decode import decode
from keras_actionformer.detection.detections import load_detections
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.tiles import (
    DEFAULT_STEPS,
    BestCandidates,
    Tile,
    cut_tile,
    plan_tiles,
    receptive_fields,
    tile_length,
)
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.padding import inference_padding
from keras_actionformer.network.points import make_points, point_mask

on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="takes gradients, or compares ties"
)

CASES = {
    "plain": dict(),
    "relative": dict(use_rel_pe=True, backbone_arch=(2, 1, 2)),
    "fpn": dict(fpn_type="fpn", fpn_start_level=1),
    "fpn-no-stem": dict(fpn_type="fpn", n_mha_win_size=3, backbone_arch=(1, 0, 2)),
    "conv": dict(backbone_type="conv", embd_kernel_size=5, n_mha_win_size=-1),
    "conv-by-4": dict(backbone_type="conv", scale_factor=4, backbone_arch=(2, 1, 2)),
    "by-4": dict(scale_factor=4, backbone_arch=(2, 1, 2), head_num_layers=1),
    "fpn-by-4": dict(
        scale_factor=4, fpn_type="fpn", n_mha_win_size=3, backbone_arch=(2, 0, 2)
    ),
    "opentad": dict(
        fpn_type="full_fpn", mask_after_relu=True, points_at_centers=True, n_mha_win_size=3
    ),
    "windows": dict(n_mha_win_size=(-1, 3, 9, 4), backbone_arch=(2, 0, 3), head_kernel_size=5),
}  # fmt: skip


DETECTORS = {
    "thumos14": dict(
        backbone_arch=(2, 2, 5), n_mha_win_size=19, embd_dim=32, fpn_dim=32, head_dim=32, n_head=4,
        max_seq_len=2304,
    ),
    **CASES,
    "padded-far": dict(max_seq_len=30_000, n_mha_win_size=19),
    "hard": dict(postprocess=PostProcess(pre_nms_topk=400, max_seg_num=100, nms_method="hard")),
    "all": dict(postprocess=PostProcess(pre_nms_topk=200, nms_method="none")),
    "voting": dict(
        postprocess=PostProcess(pre_nms_topk=400, max_seg_num=100, multiclass_nms=False)
    ),
}  # fmt: skip


def small_model(dtype=None, **changes):
    """A model with random weights that give scores of all sizes."""
    keras.utils.set_random_seed(0)
    arguments = dict(
        backbone_arch=(2, 1, 3),
        embd_dim=8,
        fpn_dim=8,
        head_dim=8,
        n_head=2,
        n_mha_win_size=5,
        max_seq_len=64,
        postprocess=PostProcess(pre_nms_topk=400, max_seg_num=100),
        # So fast that float32 holds seconds to 1e-4, of 20,000 steps: rounding is not the matter.
        grid=FeatureGrid(60, 1, 1),
    )
    model = ActionFormer(4, 3, dtype=dtype, **{**arguments, **changes})
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.3, variable.shape))
    return model


# --- receptive field -----------------------------------------------------------------------------


def test_the_field_of_thumos14_by_hand():
    # Windows of 19 reach 9 keys, kernels of 3 one step. To level 5, from its input on: 2 for the
    # embedding, 2 * (1 + 9) for the stem, for each level 1 step before and 9 after its stride:
    # (1 + 2 + 4 + 8 + 16) + 9 * (2 + 4 + 8 + 16 + 32), and 3 convolutions in the heads: 3 * 32.
    model = small_model(backbone_arch=(2, 2, 5), n_mha_win_size=19)
    fields = receptive_fields(model.architecture)
    assert fields[0] == (2 + 20 + 3,) * 2
    assert fields[-1] == (2 + 20 + 31 + 558 + 96,) * 2 == (707, 707)
    assert tile_length(model.architecture) == DEFAULT_STEPS


def field_case(changes):
    """A float64 model, features so long that some points see no end, and each level's points."""
    model = small_model("float64", **changes)
    stride = model.strides[-1]
    reach = -(-max(max(field) for field in receptive_fields(model.architecture)) // stride) * stride
    num_steps = 2 * reach + 3 * stride
    feats = np.random.default_rng(1).normal(size=(1, num_steps, 4))
    levels, first = [], 0
    for level_stride in model.strides:
        # One coarsest stride of points: all the ways to lie between the points of other levels.
        steps = range(reach, reach + stride, level_stride)
        levels.append([(step, first + step // level_stride) for step in steps])
        first += num_steps // level_stride
    return model, feats, levels


def few_fast(fast, names, turn=0):
    """All cases, of which those that are not in `fast` are slow, or exhaustive by turns."""
    marks = (pytest.mark.slow, pytest.mark.exhaustive)
    return [
        x if x in fast else pytest.param(x, marks=marks[(place + turn) % 2])
        for place, x in enumerate(names)
    ]


@on_tensorflow
@pytest.mark.parametrize("name", few_fast(("plain", "conv-by-4"), CASES))
def test_a_point_sees_its_field_and_nothing_else(name):
    import tensorflow as tf

    model, feats, levels = field_case(CASES[name])
    x, mask = tf.constant(feats), tf.ones(feats.shape[:2], bool)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        logits = model({"feats": x, "mask": mask})["logits"]
        sums = {point: tf.reduce_sum(logits[0, point]) for level in levels for _, point in level}
    step = np.arange(feats.shape[1])
    for level, field in zip(levels, receptive_fields(model.architecture), strict=True):
        seen = []
        for place, point in level:
            gradient = tape.gradient(sums[point], x)[0]
            steps = np.flatnonzero(np.abs(gradient.numpy()).max(axis=1))
            seen.append((place - steps[0], steps[-1] - place))
        assert tuple(np.max(seen, axis=0)) == field  # the outermost steps count

        # And far changes of all others do not, whatever they are.
        outside = (step < place - field[0]) | (step > place + field[1])
        changed = np.where(outside[None, :, None], 100 * np.cos(7 * feats), feats)
        other = model({"feats": tf.constant(changed), "mask": mask})["logits"]
        np.testing.assert_array_equal(other[0, point], logits[0, point])
        assert not np.array_equal(other, logits)


# --- tiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_tiles_show_every_kept_point_all_it_sees(name):
    architecture = small_model(**CASES[name]).architecture
    strides = architecture.strides
    left, right = map(max, zip(*receptive_fields(architecture), strict=True))
    with pytest.raises(UserError, match="tile_steps must be at least") as error:
        tile_length(architecture, 3)
    least = int(str(error.value).split("at least ")[1].split(",")[0])
    assert left + right < least <= left + right + 3 * strides[-1]
    for tile_steps in (least, least + 1, 2 * least + 5):
        length = tile_length(architecture, tile_steps)
        assert tile_steps <= length < tile_steps + strides[-1] and length % strides[-1] == 0
        for num_steps in range(strides[-1], 3 * length, strides[-1]):
            tiles = plan_tiles(architecture, num_steps, length)
            edges = [0, *(tile.stop_kept for tile in tiles)]
            assert edges[-1] == num_steps == tiles[-1].stop
            assert all(tile.start % strides[-1] == 0 for tile in tiles)
            assert {tile.stop - tile.start for tile in tiles} == {min(length, num_steps)}
            for tile, first, last in zip(tiles, edges[:-1], edges[1:], strict=True):
                assert tile.first_kept == first < last
                assert tile.start == 0 or first - left >= tile.start
                assert tile.stop == num_steps or last - 1 + right < tile.stop


@pytest.mark.parametrize("name", few_fast(("plain", "windows"), [*CASES, "thumos14"], turn=1))
def test_every_point_of_a_tile_is_that_of_one_pass(name):
    """In float64, where whatever a tile lacks shows, at the ends of sequences of all kinds."""
    model = small_model("float64", **DETECTORS[name])
    detector, stride = model.detector(), model.strides[-1]
    padding = inference_padding(model.architecture)
    left, right = map(max, zip(*receptive_fields(model.architecture), strict=True))
    length = tile_length(model.architecture, left + right + 3 * stride)
    feats = np.random.default_rng(9).normal(size=(2 * length + 1, 4)).astype("float32")

    def point_logits(batch):
        tensors = [
            keras.ops.convert_to_tensor(batch[name]) for name in ("feats", "mask", "present")
        ]
        return to_numpy(model.padded_outputs(*tensors)[0])[0]

    for num_steps in (2 * length, 2 * length + 1):
        padded, present = padding.padded_steps(num_steps), padding.reference_length(num_steps)
        whole = cut_tile(feats[:num_steps], Tile(0, padded, 0, padded), present)
        network = detector.network(pad_batch([feats[:num_steps]]))
        expected = point_logits(whole)
        np.testing.assert_array_equal(expected, to_numpy(network["logits"])[0])
        count = 0
        for tile in plan_tiles(model.architecture, padded, length):
            batch = cut_tile(feats[:num_steps], tile, present)
            kept = to_numpy(point_mask(batch["kept"], model.strides))[0]
            count += np.count_nonzero(kept)
            # The same points of the whole: those of this tile's steps, level by level.
            step = np.arange(padded)
            inside = (step >= tile.start) & (step < tile.stop)
            inside = np.concatenate([inside[::s] for s in model.strides])
            np.testing.assert_allclose(
                point_logits(batch)[kept], expected[inside][kept], rtol=0, atol=1e-11
            )
        valid = point_mask(whole["mask"], model.strides)
        assert count == np.count_nonzero(to_numpy(valid))


@on_tensorflow
@pytest.mark.parametrize("limit", [1, 7, 40, 5000])
def test_candidates_of_tiles_are_those_of_one_pass_with_ties(limit):
    """Scores and offsets of few values: most scores are equal, many segments have no length."""
    settings = PostProcess(pre_nms_topk=limit, pre_nms_thresh=0.4)
    rng = np.random.default_rng(limit)
    num_steps, strides, num_classes = 96, (1, 2, 4), 2
    counts = [num_steps // stride for stride in strides]
    # Scores of 1, 0.5 and about 0; others would be rounded by the place where they are computed.
    logits = 30 * rng.integers(-1, 2, (1, sum(counts), num_classes)).astype("float32")
    offsets = rng.integers(0, 2, (1, sum(counts), 2)).astype("float32")

    def candidates(start, stop, valid):
        rows, first = [], 0
        for count, stride in zip(counts, strides, strict=True):
            rows += range(first + start // stride, first + stop // stride)
            first += count
        found = decode(
            logits[:, rows],
            offsets[:, rows],
            make_points(stop - start, strides, [(0, 4), (4, 8), (8, 99)]),
            point_mask(valid[None, start:stop], strides),
            [(stop - start) // stride for stride in strides],
            settings,
        )
        return [to_numpy(x)[0] for x in found]

    step = np.arange(num_steps)
    *expected, valid = candidates(0, num_steps, step < 93)
    best = BestCandidates(settings, strides, num_classes)
    for tile in (Tile(0, 40, 0, 30), Tile(20, 60, 30, 50), Tile(44, 96, 50, 96)):
        kept = (step < 93) & (step >= tile.first_kept) & (step < tile.stop_kept)
        best.add(tile, *candidates(tile.start, tile.stop, kept)[:3])
    assert valid.any() and (limit == 1 or not valid.all())
    for ours, theirs in zip(best.valid(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs[valid])


# --- detections ----------------------------------------------------------------------------------


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.segments_sec, expected.segments_sec, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", few_fast(("thumos14",), DETECTORS))
def test_tiles_find_what_one_pass_finds(name):
    model = small_model(**DETECTORS[name])
    feats = np.random.default_rng(3).normal(size=(20_100, 4)).astype("float32")
    left, right = map(max, zip(*receptive_fields(model.architecture), strict=True))
    length = tile_length(model.architecture, 4001)
    first_kept = plan_tiles(model.architecture, 20_000, length)[1].first_kept
    hop = plan_tiles(model.architecture, 20_000, length)[1].start
    # No multiple of anything; one of all windows and strides, where the reference pads nothing;
    # ends at and around those of tiles and of what they keep.
    lengths = [19_997, 19_584, length + 1, first_kept + hop, hop + length, 3 * hop + length + 1]
    for num_steps in lengths:
        expected = model.detect(feats[:num_steps], tile_steps=20_100)
        assert_same(model.detect(feats[:num_steps], tile_steps=4001), expected)
    expected = model.detect(feats[:19_997], tile_steps=20_100)
    for tile_steps in (left + right + model.strides[-1] + 777, 19_990):
        assert_same(model.detect(feats[:19_997], tile_steps=tile_steps), expected)


def test_short_and_long_sequences_together():
    """Without an argument, those of more than 16384 steps run in tiles."""
    model = small_model(backbone_arch=(1, 0, 1), grid=FeatureGrid(240, 1, 1))
    rng = np.random.default_rng(4)
    sequences = [
        rng.normal(size=(n, 4)).astype("float32") for n in (50, DEFAULT_STEPS + 600, 7, 33_500)
    ]
    expected = [model.detect(x, tile_steps=40_000) for x in sequences]
    for found in (
        model.detect(sequences, duration_sec=[None, None, None, 1e4]),
        model.detect((x.astype("float64") for x in sequences), batch_size=2),
    ):
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


class OnDisk:
    """What a data set of an HDF5 file is, and notes how much is asked for at once."""

    def __init__(self, array):
        self._array = array
        self.shape, self.ndim, self.dtype = array.shape, array.ndim, array.dtype
        self.most_steps = 0

    def __len__(self):
        return len(self._array)

    def __getitem__(self, steps):
        part = self._array[steps]
        self.most_steps = max(self.most_steps, len(part))
        return part


def test_nothing_is_read_but_tiles(tmp_path):
    model = small_model()
    feats = np.random.default_rng(5).normal(size=(9000, 4)).astype("float16")
    np.save(tmp_path / "v.npy", feats)
    expected = model.detect(feats.astype("float32"))
    on_disk = OnDisk(feats)
    assert_same(model.detect(on_disk, tile_steps=1000), expected)
    assert on_disk.most_steps <= 4096
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert_same(model.detect(mapped, tile_steps=1000), expected)
    assert_same(model.detect([mapped[:5000], mapped], tile_steps=1000)[1], expected)


def test_a_nan_deep_in_a_file_is_told(tmp_path):
    model = small_model()
    feats = np.ones((9000, 4), "float16")
    feats[[8000, 8500], 2] = np.nan, np.inf
    np.save(tmp_path / "v.npy", feats)
    with pytest.raises(UserError, match="in 2 of 9000 steps, first at step 8000"):
        model.detect(np.load(tmp_path / "v.npy", mmap_mode="r"), tile_steps=1000)
    files = FeatureFiles(tmp_path, 4)
    for read in (files.check, files.load):
        with pytest.raises(UserError, match=r"v.npy' has a NaN or infinite value at step 8000 \(2"):
            read("v")


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"n_mha_win_size": (5, 5, 5, -1)}, "attention sees all steps"),
        ({"use_abs_pe": True}, "position embedding"),
        ({"force_upsampling": True}, "resizes all"),
    ],
)
def test_models_that_cannot_run_in_tiles(changes, why):
    model = small_model(**changes)
    feats = np.ones((300, 4), "float32")
    assert tile_length(model.architecture) is None
    with pytest.raises(UserError, match=f"cannot run in tiles, because .*{why}.*leave out tile_st"):
        model.detect(feats, tile_steps=200)


def test_a_long_sequence_in_one_pass_is_told(caplog):
    model = small_model(use_abs_pe=True, backbone_arch=(1, 0, 1))
    model.detect(np.zeros((DEFAULT_STEPS, 4), "float32"))
    assert "one pass" not in caplog.text
    model.detect(np.zeros((DEFAULT_STEPS + 1, 4), "float32"))
    assert f"A sequence of {DEFAULT_STEPS + 1} steps runs in one pass" in caplog.text
    assert "(use_abs_pe)" in caplog.text


def test_wrong_tiles():
    model = small_model()
    feats = np.ones((300, 4), "float32")
    with pytest.raises(UserError, match="tile_steps must be a whole number"):
        model.detect(feats, tile_steps=100.5)
    with pytest.raises(UserError, match=r"at least 136, because a point .* sees 64 steps before"):
        model.detect(feats, tile_steps=135)
    with pytest.raises(UserError, match="either window_steps or tile_steps"):
        model.detect(feats, tile_steps=200, window_steps=200)


# --- the program ---------------------------------------------------------------------------------


def test_detect_runs_files_in_tiles(tmp_path):
    h5py = pytest.importorskip("h5py")
    model = small_model(class_names=["a", "b", "c"])
    model.save_to_preset(tmp_path / "preset")
    feats = np.random.default_rng(7).normal(size=(5001, 4)).astype("float16")
    np.save(tmp_path / "v.npy", feats)
    with h5py.File(tmp_path / "others.h5", "w") as file:
        file["w"] = feats[:4000]
    done = run_here(
        tmp_path, "detect", "--preset=preset", "--output=d.json", "--tile_steps=1000",
        "--feats=v.npy,others.h5",
    )  # fmt: skip
    found = load_detections(tmp_path / "d.json")
    for name, count in ("v", 5001), ("w", 4000):
        expected = model.detect(feats[:count].astype("float32"))
        np.testing.assert_allclose(found[name].scores, expected.scores, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found[name].segments_sec, expected.segments_sec, atol=1e-4)
    assert "6/6" in done.stdout
    done = run_here(tmp_path, "detect", "--server=http://x", "--feats=v.npy", "--tile_steps=9")
    assert done.returncode == 2 and "--tile_steps is for a run or a preset" in done.stderr


_MEASURE = """
import sys
import numpy as np
sys.path[:0] = {path!r}
import test_tiles
model = test_tiles.small_model(n_mha_win_size=19, embd_dim=32, fpn_dim=32, head_dim=32)
feats = np.load({file!r}, mmap_mode="r")
model.detect(feats[:{num_steps}], tile_steps={tile_steps})
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="reads Linux' /proc")
def test_memory_is_that_of_a_tile(tmp_path):
    file = np.lib.format.open_memmap(tmp_path / "v.npy", "w+", "float16", (100_000, 4))
    file[:] = np.random.default_rng(8).normal(size=file.shape)
    file.flush()

    def peak_mb(num_steps, tile_steps):
        code = _MEASURE.format(
            path=[str(pathlib.Path(__file__).parent), *sys.path],
            file=str(tmp_path / "v.npy"),
            num_steps=num_steps,
            tile_steps=tile_steps,
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split()[-1]) / 1024

    short, long = peak_mb(20_000, 8192), peak_mb(100_000, 8192)
    assert long - short < 50
    assert peak_mb(100_000, 100_000) - long > 200
