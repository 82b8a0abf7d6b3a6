"""Timelines: what has which row, what is told of what is not drawn, and that it is readable."""

import subprocess
import sys
import time

import numpy as np
import pytest

from helpers.pictures import (
    DURATION_SEC,
    assert_readable,
    drawn_texts,
    made_up_raw_outputs,
    made_up_video,
)
from keras_actionformer import Detections, UserError, Video, class_colours, plot_timeline

pytest.importorskip("matplotlib")


def bars(axes):
    """(left, right, row, colour, strength) of every bar, in the order they were added."""
    from matplotlib.colors import to_hex

    found = []
    for collection in axes.collections:
        for path, colour in zip(collection.get_paths(), collection.get_facecolors(), strict=True):
            box = path.get_extents()
            found.append(
                (
                    round(box.x0, 2),
                    round(box.x1, 2),
                    round((box.y0 + box.y1) / 2 - 0.5, 2),
                    to_hex(colour).upper(),
                    round(float(colour[3]), 2),
                )
            )
    return found


def test_rows_by_hand():
    # Of class 0 the surest detection has the first row below the truth; one that overlaps with it
    # the second; one that touches none the first again. Class 1 has its lane half a row below.
    found = Detections(
        [[4, 9], [0, 5], [9, 10], [1, 2]], [0.5, 0.9, 0.4, 0.05], [0, 0, 0, 1], ("run", "sit")
    )
    video = Video("v", "test", 10.0, None, np.array([[0.0, 5.0]]), np.array([0]))
    figure = plot_timeline(found, video)
    blue, orange = class_colours(2)
    assert bars(figure.axes[0]) == [
        (0, 5, 0, "#333333", 1),
        (0, 5, 1, blue, 0.92),  # no score is a fifth as strong as a score of 1
        (4, 9, 2, blue, 0.6),
        (9, 10, 1, blue, 0.52),
        (1, 2, 4.5, orange, 0.24),
    ]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["run", "sit"]


def test_scores_below_the_least_are_not_drawn():
    found = Detections([[0, 1], [2, 3]], [0.3, 0.2], [0, 1], ("run", "sit"))
    (axes,) = found.plot(min_score=0.25).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["run"]
    (axes,) = found.plot(min_score=0.25, all_classes=True).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["run", "sit"]


def test_what_finds_no_row_is_told():
    found = Detections([[0, 9]] * 6, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0] * 6)
    figure = plot_timeline(found)
    assert len(bars(figure.axes[0])) == 4
    told = [text for text, _ in drawn_texts(figure) if "not drawn" in text]
    assert told == [
        "seconds\n2 detections with lower scores, where 4 surer ones overlap, are not drawn."
    ]


def test_thousands_of_detections_take_no_time():
    found = Detections([[0, 9]] * 20_000, np.linspace(1, 0.5, 20_000), [0] * 20_000)
    start = time.process_time()
    found.plot()
    assert time.process_time() - start < 5  # each beside all before it would be minutes


def test_actions_beyond_the_end_of_a_video_are_whole():
    video = Video("v", "test", 10.0, None, np.array([[8.0, 12.0]]), np.array([0]))
    (axes,) = Detections([], [], []).plot(video).axes
    assert axes.get_xlim() == (0, 12)


def test_short_ones_are_seen():
    (axes,) = plot_timeline(Detections([[100, 100.001]], [1], [0]), None).axes
    ((left, right, *_),) = bars(axes)
    assert right - left == pytest.approx(100 / 800, abs=0.02)


@pytest.mark.parametrize(
    "num_classes, width, dark",
    [
        (1, 6, True),
        (5, 10, False),
        (20, 6, True),
        pytest.param(97, 10, False, marks=pytest.mark.slow),
    ],
)
def test_words_are_whole_and_apart(num_classes, width, dark):
    video, found = made_up_video(num_classes)
    raw = made_up_raw_outputs(video, num_classes)
    texts = assert_readable(
        plot_timeline(found, video, raw_outputs=raw, min_score=0.3, width=width, dark=dark)
    )
    assert {"what happened", "score over time", "seconds"} <= set(texts)


@pytest.mark.parametrize("num_classes, width", [(3, 10), (20, 6)])
def test_many_videos(num_classes, width):
    videos = [made_up_video(num_classes, seed, f"video {seed} of a long name") for seed in range(4)]
    found = {video.video_id: ours for video, ours in videos}
    truth = [video for video, _ in videos[:2]]
    texts = assert_readable(plot_timeline(found, truth, min_score=0.3, width=width))
    assert set(found) <= set(texts)


def test_more_videos_than_fit():
    _, found = made_up_video(97)
    figure = plot_timeline({f"v{place}": found for place in range(5)}, min_score=0.3)
    assert len(figure.axes) == 2
    assert "3 more videos did not fit." in figure.axes[-1].get_xlabel()


@pytest.mark.parametrize(
    "duration_sec, unit, last",
    [(0.8, "seconds", "0.8"), (DURATION_SEC, "seconds", "300"), (605, "minutes:seconds", "10:00"),
     (7500, "hours:minutes", "2:00"), (90_000, "hours:minutes", "24:00")],
)  # fmt: skip
def test_axes_of_time(duration_sec, unit, last):
    figure = plot_timeline(Detections([[0, duration_sec]], [1], [0]))
    texts = assert_readable(figure)
    assert unit in texts and texts[: texts.index(unit)].count(last) == 1


def test_nothing_to_draw():
    assert "nothing" in assert_readable(plot_timeline(Detections([], [], [])))


def test_names_that_matplotlib_would_take_for_formulas():
    names = ("costs $5 and $6", "a_b^c", "two\nlines")
    found = Detections([[0, 1], [1, 2], [2, 3]], [0.5, 0.5, 0.5], [0, 1, 2], names)
    assert {"costs $5 and $6", "a_b^c", "two lines"} <= set(assert_readable(found.plot()))


def test_videos_that_do_not_belong_together():
    video, found = made_up_video(1)
    with pytest.raises(UserError, match="ground_truth has the video 'video_0', but detections"):
        plot_timeline({"other": found}, video)
    with pytest.raises(UserError, match="detections are those of one video"):
        plot_timeline(found, [video, video])
    with pytest.raises(UserError, match="there is no video"):
        plot_timeline({})


def test_pictures_need_neither_a_framework_nor_a_window(tmp_path):
    program = """if True:
        import sys
        from keras_actionformer import Detections
        Detections([[0, 1]], [0.5], [0]).plot(path=sys.argv[1])
        print(*sys.modules)
    """
    path = tmp_path / "found.png"
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 1000
    assert not {"keras", "tensorflow", "matplotlib.pyplot"} & set(done.stdout.split())
