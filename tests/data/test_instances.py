"""Which annotated instances count."""

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
