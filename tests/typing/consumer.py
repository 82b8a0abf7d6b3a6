"""A program that uses the library as its users do. It is type-checked and never run.

What a checker infers is stated by `assert_type`: a public function that lost its hints, or a name
that a checker no longer sees, is an error here.
"""

import pathlib
from typing import Any, assert_type

import numpy as np

from keras_actionformer import (
    SGD,
    ActionFormer,
    AdamW,
    Annotations,
    Architecture,
    Detections,
    Encoder,
    Ensemble,
    ErrorAnalysis,
    EvaluationResult,
    ExportedModel,
    FeatureFiles,
    FeatureGrid,
    Lengths,
    PostProcess,
    Sampling,
    ServedModel,
    Timing,
    UserError,
    VerbNounModel,
    Video,
    analyze,
    class_colours,
    default_config,
    draw_video,
    evaluate,
    evaluate_actions,
    extract_videos,
    list_presets,
    load_annotations,
    load_config,
    load_detections,
    open_encoder,
    read_ego4d,
    read_epic100,
    read_thumos14,
    results_of_run,
    save_annotations,
    save_detections,
    save_drafts,
    save_submission,
    simulate_dataset,
    simulate_videos,
    train,
    train_dataset,
    write_page,
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
    assert_type(files.paths("v"), tuple[pathlib.Path | str, ...])


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
    levels = evaluate_actions(videos, {"v": found}, ("0,21", "3,4"))
    assert_type(levels["action"], EvaluationResult)
    errors = analyze(videos, {"v": found}, tiou=0.4, thresholds=0.3, edges="data")
    assert_type(errors, ErrorAnalysis)
    assert_type(errors.false_positives.shares, np.ndarray)
    assert_type(errors.to_dict(), dict[str, Any])
    assert_type(write_page(folder / "report.html", results_of_run(folder), videos="videos"), float)


def models(folder: pathlib.Path) -> None:
    grid = FeatureGrid(fps=50, stride_frames=25, window_frames=50)
    assert_type(grid.with_fps(25).step_sec, float)
    settings = PostProcess(nms_method="hard", max_seg_num=100)
    model = ActionFormer(300, 12, embd_dim=128, postprocess=settings, grid=grid, name="mine")
    model.compile(AdamW(1e-4))
    assert_type(model.architecture, Architecture)
    assert_type(Architecture(300, 12, backbone_arch=(2, 2, 4)).strides, tuple[int, ...])
    model = ActionFormer.from_preset("simulated", num_classes=["pour", "cut"], droppath=0.2)
    assert_type(model, ActionFormer)
    print(model.detect(feats, fps=30, score_threshold=0.3).top_k(5).names)
    for found in model.detect([feats, feats], fps=[30.0, 25.0]):
        print(found.names)
    both = VerbNounModel(model, Ensemble([model, model]))
    print(both.detect(feats, fps=30).names)
    save_submission(folder / "test.json", "epic", {"v": both.detect(feats)}, supervision=(2, 3, 4))
    model.save_to_preset(folder, description="Kitchens.", scores={"0.5": 70.9})
    assert_type(model.export_detector(folder, "tflite"), tuple[pathlib.Path, dict[str, Any]])
    assert_type(list_presets("thumos*")["thumos14_i3d"]["description"], Any)


def trained(folder: pathlib.Path, videos: list[Video]) -> None:
    config = load_config("thumos14_i3d")
    config.train.epochs = default_config("thumos14_i3d").train.epochs
    assert_type(train(config, folder, resume=True), ActionFormer)
    timing, lengths = Timing(stride_frames=4, window_frames=16, fps=30), Lengths(max_seq_len=2304)
    train_dataset(videos, FeatureFiles(folder), timing, lengths, batch_size=2, epochs=range(3))


def deployed(folder: pathlib.Path) -> None:
    model = ServedModel("http://localhost:8501/v1/models/thumos14", class_names=["run", "jump"])
    try:
        assert_type(model.detect(feats, fps=30), Detections)
        assert_type(model.detect([feats, feats], fps=[30.0, 25.0]), list[Detections])
    except UserError as error:
        print(error)
    outputs = ExportedModel(folder, num_threads=2)(feats=feats[None], fps=[30.0])
    assert_type(outputs, dict[str, np.ndarray])


def videos(folder: pathlib.Path, found: Detections) -> None:
    encoder = open_encoder("motion")
    assert_type(encoder, Encoder)
    done = extract_videos({"v": folder / "v.mp4"}, encoder, folder / "feats", Sampling(fps=10))
    assert_type(done.failed, dict[str, UserError])
    drawn = draw_video(folder / "v.mp4", found, folder / "out.mp4", colours=class_colours(2))
    assert_type(drawn.clips, list[pathlib.Path])
    save_drafts(folder / "drafts", "elan", {"v": found}, media="videos/{}.mp4")
    assert_type(simulate_videos(folder, num_train=2), int)


def optimizers() -> None:
    AdamW(1e-4, weight_decay=0.05, clipnorm=1.0)
    SGD(learning_rate=1e-2, momentum=0.9)
