"""Which annotated instances count."""

import time

import numpy as np

from keras_actionformer.data.instances import usable_instances


def test_short_and_repeated_instances_are_left_out():
    segments = np.array(
        [[0, 5], [0.0008, 5.0008], [0.0016, 5], [7, 7.0005], [0, 5], [0, 5], [0, 6]]
    )
    labels = np.array([0, 0, 0, 0, 1, 0, 0])
    videos = np.array([0, 0, 0, 0, 0, 1, 0])
    # Row 1 is within a millisecond of row 0; row 2 is not, only of row 1, which is gone; row 3 is
    # half a millisecond long; row 4 is another class, row 5 another video, row 6 ends elsewhere.
    expected = [True, False, True, False, True, True, True]
    assert usable_instances(videos, segments, labels).tolist() == expected


def test_as_many_as_there_are_take_no_longer_each():
    num = 20_000
    segments = np.stack([np.zeros(num), 1 + 0.01 * np.arange(num)], axis=1)
    same = np.zeros(num, int)
    start = time.process_time()
    assert usable_instances(same, segments, same).all()  # the square of it took half a minute
    assert time.process_time() - start < 5


def test_the_neighbours_are_those_of_all_that_were_kept():
    rng = np.random.default_rng(0)
    for _ in range(20):
        segments = rng.integers(6, size=(60, 2)) * 4e-4 + [0, 1]
        videos, labels = rng.integers(2, size=(2, 60))
        kept = []
        for i in range(60):
            near = np.abs(segments[kept] - segments[i]).max(axis=1, initial=0) <= 1e-3
            if not (near & (videos[kept] == videos[i]) & (labels[kept] == labels[i])).any():
                kept.append(i)
        found = usable_instances(videos, segments, labels)
        np.testing.assert_array_equal(np.flatnonzero(found), kept)
