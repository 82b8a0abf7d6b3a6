"""A program that uses the library as its users do. It is type-checked and never run.

What a checker infers is stated by `assert_type`: a public function that lost its hints, or a name
that a checker no longer sees, is an error here.
"""

import pathlib
from typing import assert_type

import numpy as np

from keras_actionformer import (
    SGD,
    AdamW,
    Annotations,
    Detections,
    EvaluationResult,
    ExportedModel,
    FeatureFiles,
    ServedModel,
    UserError,
    Video,
    evaluate,
    load_annotations,
    load_detections,
    read_ego4d,
    read_epic100,
    read_thumos14,
    save_annotations,
    save_detections,
    simulate_dataset,
)

feats = np.zeros((500, 300), np.float32)


def data(folder: pathlib.Path) -> None:
    annotations = load_annotations(folder / "annotations.csv", outside="keep")
    assert_type(annotations, Annotations)
    videos = annotations.subset("test")
    assert_type(videos, tuple[Video, ...])
    assert_type(videos[0].fps, float | None)
    assert_type(annotations.empty_label_ids(), tuple[int, ...])
    save_annotations(folder / "annotations.json", annotations)
    for known in (
        read_thumos14(folder, durations={"v": 12.5}),
        read_epic100([folder / "EPIC_100_train.csv"], "verb"),
        read_ego4d(str(folder / "moments_train.json")),
        simulate_dataset(folder, num_train=4),
    ):
        assert_type(known, Annotations)
    files = FeatureFiles([folder / "rgb", folder / "flow"], feats_dim=[1024, 1024])
    assert_type(files.video_ids(), list[str])
    assert_type(files.load("v"), np.ndarray)
    assert_type(files.paths("v"), tuple[pathlib.Path, ...])


def scores(folder: pathlib.Path, videos: list[Video]) -> None:
    found = Detections([[1.0, 4.5], [2.0, 2.5]], [0.9, 0.2], [0, 1], ("run", "jump"))
    assert_type(found.filter(min_score=0.5, labels="run").top_k(3)[0], Detections)
    assert_type(found[found.scores > 0.5].names, list[str])
    found.save(folder / "found.json", video_id="v")
    save_detections(folder / "found.csv", {"v": found})
    result = evaluate(videos, load_detections(folder / "found.csv"), tiou_thresholds=(0.5, 0.75))
    assert_type(result, EvaluationResult)
    assert_type(result.average_mean_ap, float)
    assert_type(result.mean_ap, np.ndarray)
    assert_type(result.per_class_table(), str)


def deployed(folder: pathlib.Path) -> None:
    model = ServedModel("http://localhost:8501/v1/models/thumos14", class_names=["run", "jump"])
    try:
        assert_type(model.detect(feats, fps=30), Detections)
        assert_type(model.detect([feats, feats], fps=[30.0, 25.0]), list[Detections])
    except UserError as error:
        print(error)
    outputs = ExportedModel(folder, num_threads=2)(feats=feats[None], fps=[30.0])
    assert_type(outputs, dict[str, np.ndarray])


def optimizers() -> None:
    AdamW(1e-4, weight_decay=0.05, clipnorm=1.0)
    SGD(learning_rate=1e-2, momentum=0.9)
