"""Pictures: drawn without an error, with words whole and apart, for few and many classes."""

import csv
import warnings
import xml.etree.ElementTree

import numpy as np
import pytest

from helpers.pictures import (
    assert_readable,
    class_names,
    made_up_raw_outputs,
    made_up_video,
)
from keras_actionformer import (
    Annotations,
    Detections,
    RawOutputs,
    Thresholds,
    UserError,
    Video,
    analyze,
    plot_annotations,
    plot_boundaries,
    plot_confusion,
    plot_curves,
    plot_errors,
    plot_levels,
    plot_raw_outputs,
    plot_training,
    write_pictures,
)
from keras_actionformer.report.palette import DARK
from keras_actionformer.report.sources import Scored

pytest.importorskip("matplotlib")

# What is drawn of each: a function of the number of classes and of other options.
PLOTS = {
    "annotations": lambda count, **options: plot_annotations(
        Annotations(tuple(v for v, _ in videos_of(count)), class_names(count)), **options
    ),
    "errors": lambda count, **options: plot_errors(analysis_of(count), **options),
    "confusion": lambda count, width, dark: plot_confusion(analysis_of(count), dark=dark),
    "boundaries": lambda count, **options: plot_boundaries(analysis_of(count), **options),
    "curves": lambda count, **options: plot_curves(analysis_of(count), **options),
    "levels": lambda count, **options: plot_levels(*raw_of(count), **options),
    "raw outputs": lambda count, **options: plot_raw_outputs(
        raw_of(count)[0], videos_of(count)[0][0], **options
    ),
}


def videos_of(num_classes):
    return [made_up_video(num_classes, seed, f"video_{seed}") for seed in range(3)]


def analysis_of(num_classes):
    videos = videos_of(num_classes)
    return analyze([v for v, _ in videos], {v.video_id: found for v, found in videos})


def raw_of(num_classes):
    video, found = made_up_video(num_classes)
    return made_up_raw_outputs(video, num_classes), found


@pytest.mark.parametrize("plot", PLOTS)
@pytest.mark.parametrize(
    "num_classes, width, dark",
    [
        (1, 5, False),
        (5, 10, True),
        (20, 6, False),
        pytest.param(97, 10, True, marks=pytest.mark.slow),
    ],
)
def test_words_are_whole_and_apart(plot, num_classes, width, dark):
    assert_readable(PLOTS[plot](num_classes, width=width, dark=dark))


@pytest.fixture
def write_log(tmp_path):
    """A function that writes a run's log of some columns, and returns the run's folder."""

    def write(columns, num_epochs=12):
        with open(tmp_path / "log.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", *columns])
            for epoch in range(1, num_epochs + 1):
                # Validation scores of every third epoch alone.
                values = [
                    "" if name.startswith("val") and epoch % 3 else 1 / (epoch + place)
                    for place, name in enumerate(columns)
                ]
                writer.writerow([epoch, *values])
        return tmp_path

    return write


LOSSES = ["loss", "cls_loss", "reg_loss", "learning_rate"]
VALIDATED = [*LOSSES, "val_loss", "val_cls_loss", "val_reg_loss", "val_mAP", "val_mAP_last"]


@pytest.mark.parametrize("columns, width, num_epochs", [(LOSSES, 6, 1), (VALIDATED, 10, 40)])
def test_a_training(write_log, columns, width, num_epochs):
    texts = assert_readable(plot_training(write_log(columns, num_epochs), width=width))
    assert {"training", "Learning rate", "epoch"} <= set(texts)
    assert ("Validation mAP" in texts) == (columns == VALIDATED)


def test_what_cannot_be_drawn(write_log, tmp_path):
    with pytest.raises(UserError, match="log.csv' does not exist"):
        plot_training(tmp_path / "nowhere")
    with pytest.raises(UserError, match="log.csv' has no epoch that could be drawn"):
        plot_training(write_log(LOSSES, 0))
    raw, _ = raw_of(2)
    with pytest.raises(UserError, match="there is no class 'axtion 1'; did you mean 'action 1'"):
        plot_raw_outputs(raw, classes=["axtion 1"])
    with pytest.raises(UserError, match="there is no detection that could be drawn"):
        plot_levels(raw, Detections([], [], []))
    with pytest.raises(UserError, match="have no action that could be drawn"):
        empty = Video("v", "test", 1.0, None, np.zeros((0, 2)), np.zeros(0, int))
        plot_annotations(Annotations((empty,), ("a",)))
    with pytest.raises(UserError, match="path must end in .png, .svg, .pdf, but is 'x.gif'"):
        plot_levels(*raw_of(1), "x.gif")


def test_files_are_whole_and_the_same_each_time(tmp_path):
    for suffix in ("png", "svg", "pdf"):
        path = tmp_path / f"new/{suffix}.{suffix}"
        contents = []
        for _ in range(2):
            plot_levels(*raw_of(2), path, width=5)
            contents.append(path.read_bytes())
        assert contents[0] == contents[1]
        assert contents[0].startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    root = xml.etree.ElementTree.fromstring((tmp_path / "new/svg.svg").read_bytes())
    assert root.tag.endswith("svg") and len(list(root.iter())) > 50


def test_all_pictures_of_a_run(tmp_path):
    names, (videos, found) = class_names(3), zip(*videos_of(3), strict=True)
    detections = {"video_0": found[0], "video_1": found[1]}  # and none of the third
    log = [{"epoch": 1.0, "loss": 2.0}]
    scored = Scored("a run", videos, detections, names, Thresholds(0.3), log=log)
    paths = write_pictures(tmp_path / "new", scored, "svg", dark=True)
    drawn = ["timelines", "errors", "confusion", "curves", "boundaries", "data", "training"]
    assert paths == [tmp_path / "new" / f"{name}.svg" for name in drawn]
    assert all(DARK.background.lower() in path.read_text() for path in paths)
    with pytest.raises(UserError, match="file_format must be one of png, svg, pdf, but is 'gif'"):
        write_pictures(tmp_path, scored, "gif")


def test_raw_outputs_are_weighted_histograms():
    # Two points see an action of class 1 from 2 to 4 s, with scores of 0.5 and 0.25.
    raw = RawOutputs(
        np.array([2.5, 3.5, 9.0]),
        np.zeros(3, int),
        np.array([[0, 0.5], [0, 0.25], [0, 0]]),
        np.array([[2.0, 4.0], [2.0, 4.0], [8.0, 9.0]]),
        ("sit", "run"),
    )
    figure = plot_raw_outputs(raw, classes=["run"])
    _, histogram = figure.axes
    starts, ends = (patch.get_data() for patch in histogram.patches)
    width = 9.0 / 300
    assert starts.values.sum() == pytest.approx(0.75) and ends.values.sum() == pytest.approx(-0.75)
    at_start, at_end = starts.values.argmax(), ends.values.argmin()
    assert starts.edges[at_start] <= 2.0 < starts.edges[at_start] + width + 1e-9
    assert ends.edges[at_end] <= 4.0 < ends.edges[at_end] + width + 1e-9


@pytest.mark.parametrize("scores", [[], [0.01, 0.02], [-3.0, 50.0]])
def test_few_detections_and_scores_that_are_no_probabilities(scores):
    # None is right, none is there, and some lie outside of every axis of scores.
    video = Video("v", "test", 10.0, None, np.array([[1.0, 2.0], [4.0, 6.0]]), np.array([0, 1]))
    found = Detections([[8.0, 9.0], [7.0, 8.0]][: len(scores)], scores, [0, 1][: len(scores)])
    analysis = analyze([video], {"v": found})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for plot in (plot_errors, plot_curves, plot_boundaries):
            figure = plot(analysis)
            assert_readable(figure)
            assert all(axes.get_ylim()[0] == 0 for axes in figure.axes)


def test_classes_without_names():
    video = Video("v", "test", 10.0, None, np.array([[1.0, 2.0]]), np.array([2]))
    texts = assert_readable(plot_annotations(Annotations((video,), ("run",)), width=6))
    assert {"run", "class_1", "class_2"} <= set(texts)


def test_names_that_no_file_can_hold(tmp_path):
    names = ("no \udcff UTF-8", "a bell \x07", "two\nlines", "<b>&")
    found = Detections([[0, 1]] * 4, [0.5] * 4, range(4), names)
    texts = assert_readable(found.plot(path=tmp_path / "odd.svg"))
    assert {"no \\udcff UTF-8", "a bell \\x07", "two lines", "<b>&"} <= set(texts)
    xml.etree.ElementTree.fromstring((tmp_path / "odd.svg").read_bytes())


@pytest.mark.parametrize("width", [-1, 2, 1000, float("nan"), "wide"])
def test_widths_that_cannot_be_drawn(width):
    with pytest.raises(UserError, match="width must be"):
        Detections([[0, 1]], [0.5], [0]).plot(width=width)
