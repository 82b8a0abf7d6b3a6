"""Which actions are learned, by hand."""

import numpy as np
import pytest

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import Timing
from keras_actionformer.data.learned_actions import learned_videos
from keras_actionformer.errors import UserError

TIMING = Timing(stride_frames=4, window_frames=16)


def video(segments_sec, labels, duration_sec=100.0, fps=10.0):
    return Video(
        "v", "training", duration_sec, fps, np.array(segments_sec, float), np.array(labels)
    )


def learned(found, **settings):
    (found,) = learned_videos([found], TIMING, **settings)
    return found.segments_sec.tolist(), found.labels.tolist()


def test_all_is_learned_where_nothing_is_set():
    assert learned(video([[0.14, 0.17], [0.14, 0.17]], [1, 1])) == ([[0.14, 0.17]] * 2, [1, 1])


def test_times_are_cut_down_to_whole_frames():
    # 10 frames a second: 1.48 s is in frame 14, 2.0 s begins frame 20; 3.01 to 3.09 is in one.
    segments, labels = learned(video([[1.48, 2.0], [3.01, 3.09]], [0, 1]), whole_frames=True)
    np.testing.assert_allclose(segments, [[1.4, 2.0]])
    assert labels == [0]


def test_whole_frames_stay_whole_where_a_product_is_rounded():
    # 0.29 * 100 is 28.999999999999996.
    segments, _ = learned(video([[0.0, 0.29]], [0], fps=100.0), whole_frames=True)
    np.testing.assert_allclose(segments, [[0.0, 0.29]])


def test_short_actions_are_left_out_by_their_share_of_the_video():
    # 1 % of 100 s is 1 s, which an action must last more than.
    found = learned(video([[5, 6], [5, 6.5]], [0, 1]), min_action_share=0.01)
    assert found == ([[5, 6.5]], [1])
    with pytest.raises(UserError, match="has no 'duration'.*data.min_action_share"):
        learned(video([[5, 6]], [0], duration_sec=None), min_action_share=0.01)


def test_repeated_actions_are_learned_once():
    found = learned(video([[5, 6], [5, 6], [5, 6], [5, 7]], [0, 1, 0, 0]), drop_repeated=True)
    assert found == ([[5, 6], [5, 6], [5, 7]], [0, 1, 0])


def test_videos_without_actions_are_left_out_where_that_is_set():
    empty = video(np.zeros((0, 2)), [])
    assert len(learned_videos([empty, video([[1, 2]], [0])], TIMING, drop_without=True)) == 1
    assert len(learned_videos([empty], TIMING)) == 1
