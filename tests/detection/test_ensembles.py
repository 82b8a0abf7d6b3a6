"""Several models as one: the mean of what they say at every point."""

import numpy as np
import pytest

from helpers.models import CHANNELS, small_model, to_numpy
from keras_actionformer import Ensemble, FeatureGrid, PostProcess, UserError
from keras_actionformer.detection.ensembles import _logits_of_mean
from keras_actionformer.detection.live import LiveDetector

FEATS = np.random.default_rng(1).normal(size=(203, CHANNELS)).astype("float32")
EVERYTHING = PostProcess(nms_method="none", pre_nms_topk=2000, pre_nms_thresh=0.01)


def other_model(**changes):
    """A model of the same pyramid with other weights, twice as wide."""
    model = small_model(**{"embd_dim": 16, "fpn_dim": 16, "head_dim": 16, **changes})
    rng = np.random.default_rng(7)
    for variable in model.trainable_variables:
        variable.assign(to_numpy(variable) + rng.normal(0, 0.2, variable.shape))
    return model


def assert_same(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=2e-6)
    np.testing.assert_allclose(found.segments_sec, expected.segments_sec, atol=1e-4)
    assert found.class_names == expected.class_names


def test_the_logits_of_mean_scores_by_hand():
    # Scores 0.2 and 0.6, whose mean is 0.4, and 0.9 thrice.
    def logit(score):
        return np.float32(np.log(score / (1 - score)))

    pair = [np.array([logit(x), logit(0.9)], "float32") for x in (0.2, 0.6)]
    np.testing.assert_allclose(to_numpy(_logits_of_mean(pair)), [logit(0.4), logit(0.9)], rtol=1e-6)
    # Both 50: a score so near 1 that float32 has no digit left, yet a logit. Of 50 and -50, 0.5.
    far = [np.array([50.0, 50.0, -80.0], "float32"), np.array([50.0, -50.0, -80.0], "float32")]
    np.testing.assert_allclose(to_numpy(_logits_of_mean(far)), [50.0, 0.0, -80.0], atol=1e-5)
    wrong = [np.array([np.nan, np.inf, 1.0], "float32"), np.ones(3, "float32")]
    assert np.isnan(to_numpy(_logits_of_mean(wrong))).tolist() == [True, True, False]


def test_one_model_twice_is_that_model():
    model = small_model()
    both = Ensemble([model, model])
    assert_same(both.detect(FEATS), model.detect(FEATS))
    # Whole, in tiles, and in windows.
    for option in ({"tile_steps": 120}, {"window_steps": 48, "window_overlap": 0.25}):
        assert_same(both.detect(FEATS, **option), model.detect(FEATS, **option))


def test_it_is_the_mean_at_every_point():
    models = [small_model(), other_model()]
    both = Ensemble(models)
    mean, first, second = (model.raw(FEATS) for model in (both, *models))
    np.testing.assert_array_equal(mean.points_sec, first.points_sec)
    np.testing.assert_allclose(mean.scores, (first.scores + second.scores) / 2, atol=1e-6)
    segments = (first.segments_sec + second.segments_sec) / 2
    np.testing.assert_allclose(mean.segments_sec, segments, atol=1e-4)
    assert np.abs(first.scores - second.scores).max() > 0.1  # else the mean would say nothing

    # Candidates are chosen from the mean, of which none is suppressed here.
    both.postprocess = EVERYTHING
    found = both.detect(FEATS)
    scores = (first.scores + second.scores) / 2
    steps = np.diff(segments, axis=1)[:, 0] / both.grid.step_sec
    point, label = np.nonzero(
        (scores > EVERYTHING.pre_nms_thresh) & (steps > EVERYTHING.duration_thresh)[:, None]
    )
    order, ours = (np.argsort(-x, kind="stable") for x in (scores[point, label], found.scores))
    np.testing.assert_allclose(found.scores[ours], scores[point, label][order], atol=1e-6)
    is_clear = np.abs(np.diff(scores[point, label][order], prepend=2, append=-1)) > 1e-5
    is_clear = is_clear[1:] & is_clear[:-1]  # of equal scores, rounding decides which is first
    assert is_clear.mean() > 0.8
    np.testing.assert_array_equal(found.labels[ours][is_clear], label[order][is_clear])
    expected = np.maximum(segments[point][order], 0.0)
    np.testing.assert_allclose(found.segments_sec[ours][is_clear], expected[is_clear], atol=1e-4)
    # Tiles see what one pass sees.
    both.postprocess = PostProcess(max_seg_num=50, pre_nms_topk=60)
    assert_same(both.detect(FEATS, tile_steps=120), both.detect(FEATS))


def test_it_recommends_no_threshold_and_takes_settings_of_the_first():
    models = [small_model(), other_model(postprocess=PostProcess(max_seg_num=7))]
    both = Ensemble(models)
    assert both.thresholds is None and models[0].thresholds is not None
    assert both.postprocess == models[0].postprocess
    assert len(Ensemble(models[::-1]).detect(FEATS)) == 7


@pytest.mark.slow
def test_what_goes_on_is_detected_as_by_one_model():
    model = small_model()
    found = []
    for one in (model, Ensemble([model, model])):
        detector = LiveDetector(one, model.grid, longest=20)
        found.append([detector.add(FEATS[:150]), detector.add(FEATS[150:]), detector.finish()])
    for ours, expected in zip(found[1], found[0], strict=True):
        assert_same(ours, expected)
    assert sum(map(len, found[0]))


def test_a_nan_of_any_model_is_told():
    broken = other_model()
    kernel = broken.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan, "float32"))
    with pytest.raises(UserError, match="NaN or infinite"):
        Ensemble([small_model(), broken]).detect(FEATS)


@pytest.mark.parametrize(
    "changes, text",
    [
        ({"num_classes": 4, "class_names": None, "thresholds": None}, "Model 2 has 4 classes"),
        ({"class_names": ("run", "leap", "fall")}, "class id 1 'leap'.*model 1.*'jump'"),
        ({"n_mha_win_size": 7}, "Model 2 has n_mha_win_size=7, but model 1 has 5"),
        ({"backbone_arch": (1, 1, 1)}, r"backbone_arch=\(1, 1, 1\)"),
        ({"max_seq_len": 96}, "max_seq_len=96"),
        ({"input_dim": 6}, "input_dim=6"),
        ({"grid": FeatureGrid(25, 8, 16)}, "Model 2 has grid.stride_frames=8, but model 1 has 4"),
        ({"encoder": {"name": "i3d"}}, "encoder.name='i3d'.*of model 1 is 'clip'"),
    ],
)
def test_what_does_not_fit_is_named(changes, text):
    first = small_model(encoder={"name": "clip"})
    with pytest.raises(UserError, match=text):
        Ensemble([first, small_model(**{"encoder": {"name": "clip"}, **changes})])


def test_no_models():
    with pytest.raises(UserError, match="a model or more"):
        Ensemble([])
