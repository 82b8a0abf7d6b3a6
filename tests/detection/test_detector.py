"""From features to detections: the reference's results, and what must not change them."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest

from helpers.golden_files import cases, join_levels, load
from helpers.models import CHANNELS, reference_model, small_model, to_numpy
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.batching import pad_batch, plan_batches, round_up
from keras_actionformer.detection.decode import CandidateDecoder, decode
from keras_actionformer.detection.detector import UNTRACED_BATCHES, Detector
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.suppression import Suppression, suppress
from keras_actionformer.errors import UserError
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.points import point_mask


def _variants():
    for case in cases("e"):
        for name in load(case.values[0])["meta_json"]["variants"]:
            yield pytest.param(case.values[0], name, id=f"{case.id}-{name}")


def _settings(golden, name):
    variant = dict(golden["meta_json"]["variants"][name])
    variant.pop("ext_score_file")
    return PostProcess(**variant, drop_empty=False)


def _videos(golden):
    count = len(golden["meta_json"]["videos"])
    feats = [golden[f"in/v{i}/feats"].T for i in range(count)]
    return feats, golden["meta_json"]["videos"]


@pytest.mark.parametrize("path, name", list(_variants()))
def test_candidates_are_the_references(path, name):
    golden = load(path)
    config = golden["config_json"]["model"]
    count = len(config["regression_range"])
    for i in range(len(_videos(golden)[0])):
        lengths = [golden[f"v{i}/points_{level}"].shape[0] for level in range(count)]
        segments, scores, labels, valid = (
            to_numpy(x)[0]
            for x in decode(
                join_levels(golden, f"v{i}/cls_logits_", count)[None],
                join_levels(golden, f"v{i}/offsets_", count)[None],
                join_levels(golden, f"v{i}/points_", count),
                np.concatenate([golden[f"v{i}/mask_{level}"] for level in range(count)])[None],
                lengths,
                _settings(golden, name),
            )
        )
        prefix = f"{name}/v{i}/pre_"
        np.testing.assert_allclose(scores[valid], golden[prefix + "scores"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(labels[valid], golden[prefix + "labels"])
        np.testing.assert_allclose(segments[valid], golden[prefix + "segments"], atol=1e-5)


@pytest.mark.parametrize("path, name", list(_variants()))
def test_detections_are_the_references(path, name):
    """Features of several lengths in one call, against one reference run a video."""
    golden = load(path)
    feats, videos = _videos(golden)
    model = reference_model(golden, postprocess=_settings(golden, name))
    detections = model.detect(
        feats,
        fps=[v["fps"] for v in videos],
        duration_sec=[v["duration"] for v in videos],
        grid=FeatureGrid(1.0, videos[0]["feat_stride"], videos[0]["feat_num_frames"]),
    )
    for i, found in enumerate(detections):
        prefix = f"{name}/v{i}/final_"
        assert len(found) == len(golden[prefix + "scores"])
        np.testing.assert_allclose(found.scores, golden[prefix + "scores"], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found.labels, golden[prefix + "labels"])
        np.testing.assert_allclose(
            found.segments_sec, golden[prefix + "segments"], rtol=0, atol=1e-4
        )


@pytest.mark.parametrize("path", cases("e"))
def test_little_padding_gives_the_numbers_of_the_references_padding(path):
    golden = load(path)
    model = reference_model(golden)
    network = Detector(model, model.postprocess).network
    for i, feats in enumerate(_videos(golden)[0]):
        outputs = network(pad_batch([feats]))
        padded = outputs["mask"].shape[1]
        assert padded <= golden[f"v{i}/padded_feats_shape"][2]
        first = 0
        for level, stride in enumerate(model.strides):
            valid = golden[f"v{i}/mask_{level}"].sum()
            ours = to_numpy(outputs["logits"])[0, first : first + valid]
            theirs = golden[f"v{i}/cls_logits_{level}"][:valid]
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, abs(theirs).max()))
            first += padded // stride
        assert first == outputs["logits"].shape[1]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(2)
    model = ActionFormer(
        5,
        3,
        backbone_arch=(2, 1, 3),
        embd_dim=8,
        fpn_dim=8,
        head_dim=8,
        n_head=2,
        n_mha_win_size=5,
        max_seq_len=64,
        postprocess=PostProcess(max_seg_num=20, pre_nms_topk=100),
        grid=FeatureGrid(25, 4, 16),
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.3, variable.shape))
    return model


LENGTHS = (1, 7, 8, 40, 57, 63, 64, 65, 70, 96, 97, 150)


def _sequences():
    rng = np.random.default_rng(7)
    return [rng.normal(size=(n, 5)).astype("float32") for n in LENGTHS]


def assert_same(a, b):
    assert len(a) == len(b)
    np.testing.assert_allclose(a.scores, b.scores, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_allclose(a.segments_sec, b.segments_sec, rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_batches_and_order_change_no_more_than_last_digits(model, batch_size):
    sequences = _sequences()
    alone = [model.detect(x) for x in sequences]
    order = np.random.default_rng(batch_size).permutation(len(sequences))
    together = model.detect([sequences[i] for i in order], batch_size=batch_size)
    for i, found in zip(order, together, strict=True):
        assert_same(found, alone[i])
        np.testing.assert_allclose(found.scores, alone[i].scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"use_abs_pe": True, "max_seq_len": 50},
        {"force_upsampling": True},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in (
                {"use_rel_pe": True, "backbone_arch": (2, 0, 2)},
                {"fpn_type": "full_fpn", "mask_after_relu": True, "points_at_centers": True},
                {"n_mha_win_size": (5, -1, 5, 7), "head_with_ln": False},
            )
        ),
        *(
            pytest.param(changes, marks=pytest.mark.exhaustive)
            for changes in (
                {"use_abs_pe": True},
                {"fpn_type": "fpn", "fpn_start_level": 1},
                {"backbone_type": "conv", "embd_kernel_size": 5, "scale_factor": 4},
                {"n_mha_win_size": -1, "embd_with_ln": False, "head_kernel_size": 5},
            )
        ),
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
def test_any_batch_gives_what_each_sequence_gives_alone(model, changes):
    """Lengths that the reference pads differently, some not at all, in one batch."""
    config = {**model.get_config(), "regression_range": None, **changes}
    other = ActionFormer.from_config(config)
    rng = np.random.default_rng(0)
    for variable in other.trainable_variables:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.3, variable.shape))
    sequences = _sequences()
    together = other.detect(sequences, batch_size=100)
    for feats, found in zip(sequences, together, strict=True):
        alone = other.detect(feats)
        assert len(alone)
        assert_same(found, alone)


def _padded(feats, num_steps):
    """A batch of one for the model itself."""
    mask = np.arange(num_steps) < len(feats)
    return {"feats": np.resize(feats, (num_steps, feats.shape[1]))[None], "mask": mask[None]}


@pytest.mark.parametrize("num_steps", LENGTHS)
def test_padding_to_the_references_length_gives_the_same(model, num_steps):
    feats = np.random.default_rng(num_steps).normal(size=(num_steps, 5)).astype("float32")
    # Window 5 at stride 8 makes the reference pad beyond 64 to multiples of 32.
    reference = 64 if num_steps <= 64 else -(-num_steps // 32) * 32
    few = model.detector().network(pad_batch([feats]))
    padded = few["mask"].shape[1]
    assert num_steps <= padded <= min(reference, num_steps + 2 * 8)
    many = model(_padded(feats, reference))
    first = reference_first = 0
    for stride in model.strides:
        valid = -(-num_steps // stride)
        for name in ("logits", "offsets"):
            np.testing.assert_allclose(
                to_numpy(few[name])[0, first : first + valid],
                to_numpy(many[name])[0, reference_first : reference_first + valid],
                rtol=0,
                atol=1e-5,
            )
        first += padded // stride
        reference_first += reference // stride


def test_batches_are_of_similar_length():
    batches = list(plan_batches(LENGTHS[::-1], 5))
    assert [[LENGTHS[::-1][i] for i in batch] for batch in batches] == [
        [1, 7, 8, 40, 57],
        [63, 64],
        [65, 70],
        [96],
        [97],
        [150],
    ]
    # Not more steps at once than a tile has.
    assert [len(batch) for batch in plan_batches([5000] * 8, 8)] == [3, 3, 2]
    assert list(plan_batches([10**6, 10**6], 8)) == [[0], [1]]


def test_lengths_are_rounded_up_to_few():
    rounded = [round_up(num_steps) for num_steps in range(1, 5000)]
    assert rounded == sorted(rounded)
    assert all(n <= r <= max(64, 1.125 * n) for n, r in enumerate(rounded, 1))
    assert sum(1 for r in set(rounded) if 1024 < r <= 2048) == 8
    assert {2304, 1024, 320} <= set(rounded)


def assert_identical(a, b):
    for name in ("scores", "labels", "segments_sec"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.fixture(scope="module", params=["soft", "hard", "none"])
def any_model(model, request):
    """The model with each method of suppression."""
    settings = {**model.get_config()["postprocess"], "nms_method": request.param}
    changed = ActionFormer.from_config({**model.get_config(), "postprocess": settings})
    changed.set_weights(model.get_weights())
    changed.detector().expect(100)  # so that all run in one way, with the same last digits
    return changed


def test_a_window_as_long_as_the_sequence_changes_nothing(any_model):
    for feats in _sequences()[4:12:3]:
        plain = any_model.detect(feats, duration_sec=14.0)
        assert len(plain)
        for window_steps in (len(feats), len(feats) + 30):
            windowed = any_model.detect(feats, duration_sec=14.0, window_steps=window_steps)
            assert_identical(windowed, plain)


def test_candidates_of_all_windows_are_suppressed_together(any_model):
    """The steps of a windowed detection, one after the other."""
    model = any_model
    feats = np.random.default_rng(5).normal(size=(90, 5)).astype("float32")
    windows = []
    for start in (0, 20, 40, 50):  # Windows of 40 that overlap by half; the last ends at 90.
        outputs = model.detector().network(pad_batch([feats[start : start + 40]]))
        padded = outputs["mask"].shape[1]
        segments, *rest = decode(
            outputs["logits"],
            outputs["offsets"],
            model.points(padded),
            point_mask(outputs["mask"], model.strides),
            [padded // stride for stride in model.strides],
            model.postprocess,
        )
        windows.append([to_numpy(segments) + np.float32(start), *map(to_numpy, rest)])
    merged = [np.concatenate(parts, axis=1) for parts in zip(*windows, strict=True)]
    segments, scores, labels, count = (to_numpy(x)[0] for x in suppress(*merged, model.postprocess))
    found = model.detect(feats, grid=FeatureGrid(1, 1, 2000), window_steps=40, window_overlap=0.5)
    assert len(found) == count > 0
    np.testing.assert_allclose(found.scores, scores[:count], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.labels, labels[:count])
    # A wide feature window moves all times away from 0, where they would be clipped.
    np.testing.assert_allclose(found.segments_sec - 1000, segments[:count], rtol=0, atol=1e-3)


def test_windows_of_many_sequences_share_batches(model):
    sequences = _sequences()[::2]
    windows = dict(window_steps=30, window_overlap=0.3)
    alone = [model.detect(x, **windows) for x in sequences]
    for found, expected in zip(
        model.detect(sequences, batch_size=3, **windows), alone, strict=True
    ):
        assert_same(found, expected)
    assert model.detect([], **windows) == []


def test_no_candidates_in_any_window(model):
    settings = {**model.get_config()["postprocess"], "pre_nms_thresh": 1.0}
    silent = ActionFormer.from_config({**model.get_config(), "postprocess": settings})
    assert len(silent.detect(_sequences()[-1], window_steps=40)) == 0


def test_wrong_windows(model):
    feats = _sequences()[-1]
    with pytest.raises(UserError, match="window_steps must be a whole number"):
        model.detect(feats, window_steps=0)
    with pytest.raises(UserError, match="window_overlap must lie in"):
        model.detect(feats, window_steps=40, window_overlap=1.0)
    resizing = ActionFormer.from_config({**model.get_config(), "force_upsampling": True})
    with pytest.raises(UserError, match="leaves no windows to cut"):
        resizing.detect(feats, window_steps=40)


def test_graph_layers_are_restored_from_their_configuration(model):
    arguments = (model.strides, model.config["regression_range"], model.postprocess)
    for layer in (CandidateDecoder(*arguments), Suppression(model.postprocess)):
        restored = keras.layers.deserialize(keras.layers.serialize(layer))
        assert restored.get_config() == layer.get_config()
        assert restored.settings == model.postprocess and restored.dtype == "float32"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces")
def test_one_trace_serves_all_lengths(model):
    fresh = ActionFormer.from_config(model.get_config())
    fresh.set_weights(model.get_weights())
    heads, runs = fresh.get_layer("heads"), []
    call = heads.call

    def counted(*args, **kwargs):
        runs.append(1)
        return call(*args, **kwargs)

    heads.call = counted
    found = fresh.detect(_sequences()[5])
    assert len(runs) == 1  # without a trace
    for feats in _sequences():
        assert_same(fresh.detect(feats), model.detect(feats))
    assert len(runs) == UNTRACED_BATCHES + 1  # and the trace
    assert_same(found, model.detect(_sequences()[5]))


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with TensorFlow")
def test_compiled_equals_graph(model):
    feats = _sequences()[3]
    graph = model.detect(feats)
    assert model.detector(jit_compile=True) is not model.detector()
    assert_same(model.detect(feats, jit_compile=True), graph)


def test_data_sets_generators_and_lists(model):
    sequences = _sequences()[:3]
    expected = model.detect(sequences)
    for found, other in zip(model.detect(x for x in sequences), expected, strict=True):
        assert_same(found, other)
    tf = pytest.importorskip("tensorflow")
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(sequences), output_signature=tf.TensorSpec((None, 5), tf.float32)
    )
    for found, other in zip(model.detect(dataset), expected, strict=True):
        assert_same(found, other)
    assert model.detect([]) == []


def test_timing_limits_and_thresholds(model):
    feats = _sequences()[4]
    found = model.detect(feats)
    slower = model.detect(feats, fps=12.5)
    np.testing.assert_allclose(slower.segments_sec, 2 * found.segments_sec, rtol=1e-5)
    clipped = model.detect(feats, duration_sec=5.0)
    assert clipped.segments_sec.max() <= 5.0 < found.segments_sec.max()
    assert found.segments_sec.min() >= 0
    assert len(model.detect(feats, max_detections=3)) == 3
    assert_same(model.detect(feats, max_detections=3), found[:3])
    threshold = float(found.scores[2])
    assert (model.detect(feats, score_threshold=threshold).scores >= threshold).all()


def test_what_lies_past_the_end_is_no_detection(monkeypatch, model):
    """The reference keeps it, with no length at the end; what is left stays as it is."""
    feats, duration_sec = _sequences()[4], 5.0
    monkeypatch.setattr(
        model, "postprocess", dataclasses.replace(model.postprocess, drop_empty=False)
    )
    as_reference = model.detect(feats, duration_sec=duration_sec)
    lengths_sec = np.diff(as_reference.segments_sec, axis=1)[:, 0]
    assert 0 < np.sum(lengths_sec == 0) < len(lengths_sec)
    monkeypatch.undo()
    assert_same(model.detect(feats, duration_sec=duration_sec), as_reference[lengths_sec > 0])


def test_wrong_features_are_one_sentence(model):
    good = np.zeros((10, 5), "float32")
    bad = good.copy()
    bad[3, 1] = np.nan
    for feats, message in (
        (good.T, r"must be \(T, 5\)"),
        ([good, good[:, :4]], r"feats\[1\] must be \(T, 5\)"),
        (good[:0], "is empty"),
        (bad, "NaN or infinite values in 1 of 10 steps, first at step 3"),
        (good.astype("float64") + 1e300, "NaN or infinite values in 10 of 10 steps"),
        (np.full((10, 5), "x"), "must be an array of real numbers, but is ndarray of <U1"),
        (good.astype(complex), "must be an array of real numbers, but is ndarray of complex128"),
        (good.astype("datetime64[s]"), "must be an array of real numbers"),
        ([good, object()], r"feats\[1\] must be an array of real numbers, but is object"),
        (None, "or several, but is None"),
    ):
        with pytest.raises(UserError, match=message):
            model.detect(feats)
    with pytest.raises(UserError, match="fps has 1 value for 2 sequences"):
        model.detect([good, good], fps=[25])
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        model.detect([good], batch_size=0)
    with pytest.raises(UserError, match="duration_sec must be above 0"):
        model.detect(good, duration_sec=-3)
    no_timing = ActionFormer.from_config({**model.get_config(), "grid": None})
    with pytest.raises(UserError, match="does not know the timing"):
        no_timing.detect(good)


@pytest.mark.parametrize(
    "feats, message",
    [
        ("feats.npy", r"feats must be an array \(T, 5\), .* but is 'feats.npy': read it before"),
        (pathlib.Path("feats.npy"), "read it before, for example by numpy.load"),
        ({"feats": np.zeros((20, CHANNELS))}, "read it before"),
        (np.zeros((1249, 1, CHANNELS)), r"1249 sequences of one step each, or one of 1249 steps\?"),
    ],
)
def test_features_that_may_mean_something_else(feats, message):
    with pytest.raises(UserError, match=message):
        small_model().detect(feats)


def test_one_text_is_one_frame_rate():
    model, feats = small_model(), np.ones((40, CHANNELS), "float32")
    found = model.detect([feats, feats], fps="30000/1001")
    expected = model.detect(feats, fps=30000 / 1001)
    np.testing.assert_allclose(found[1].segments_sec, expected.segments_sec, rtol=1e-5)
    for wrong in ("fast", object()):
        with pytest.raises(UserError, match="fps must be a finite number, but it is"):
            model.detect(feats, fps=wrong)


def test_an_array_of_no_axes_is_one_number():
    model, feats = small_model(), np.ones((40, CHANNELS), "float32")
    found = model.detect([feats, feats], fps=np.array(12.5), duration_sec=np.array(5))
    expected = model.detect(feats, fps=12.5, duration_sec=5)
    np.testing.assert_allclose(found[1].segments_sec, expected.segments_sec, rtol=1e-5)


# What is not finite -----------------------------------------------------


@pytest.mark.parametrize("method", ["soft", "hard", "none"])
def test_what_is_not_finite_is_no_sequence_without_actions(method):
    model = small_model(postprocess=PostProcess(max_seg_num=50, pre_nms_topk=60, nms_method=method))
    sound = np.random.default_rng(3).normal(size=(40, CHANNELS)).astype("float32")
    broken = np.where(np.arange(40)[:, None] == 30, np.float32(3e38), sound)
    assert len(model.detect(sound))
    with pytest.raises(
        UserError, match=r"numbers of feats\[1\], first at step 1\d\. .* \(step 30\)"
    ):
        model.detect([sound, broken])
    assert len(model.detect([sound, sound])[1])


def test_a_damaged_weight_is_told():
    model = small_model()
    weight = model.get_layer("neck").weights[0]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(UserError, match="numbers of feats, first at step 0"):
        model.detect(np.zeros((40, CHANNELS), "float32"))


def test_tiles_tell_what_is_not_finite():
    model = small_model()
    feats = np.zeros((400, CHANNELS), "float32")
    feats[390] = 3e38
    with pytest.raises(UserError, match=r"first at step 3[78]\d\."):
        model.detect(feats, tile_steps=160)
