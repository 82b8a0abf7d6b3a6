"""What is measured on a machine: network, training, suppression, data, evaluation, exports.

Weights and features are made up: they do not change how long the network takes. Every function
yields `Measurement`s; `meter` tells how often, and what the machine reaches in between.
"""

import dataclasses
import functools
import itertools
import math
import os
import pathlib
import tempfile
import time

import keras
import numpy as np
from keras import ops

from keras_actionformer.benchmark.flops import gflop
from keras_actionformer.benchmark.measurements import Measurement
from keras_actionformer.benchmark.meter import Meter, available_modes, compiled, wait
from keras_actionformer.data.annotations import Video
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.deploy.exported import ExportedModel
from keras_actionformer.detection.batching import pad_batch
from keras_actionformer.detection.decode import decode
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.suppression import suppress
from keras_actionformer.evaluation.evaluation import evaluate
from keras_actionformer.model import ActionFormer
from keras_actionformer.network.attention import local_attention
from keras_actionformer.network.points import make_points
from keras_actionformer.presets.builtin import list_presets
from keras_actionformer.quiet import quiet_start
from keras_actionformer.training.config import default_config
from keras_actionformer.training.experiment import Experiment

# A training step goes forward, then twice as far back: to the weights and to the inputs.
_TRAINING_FACTOR = 3


def run_case(what, preset=None, dtype="float32", num_runs=7, options=None):
    """Runs one of the measurements below.

    Args:
      what: str, a key of `_OF_A_MODEL` or `_OF_THE_MACHINE`, or `"machine"`: its primitives.
      preset: str, see `ActionFormer.from_preset`; weights are random where it has none.
      dtype: str, type that networks compute in, `"float32"` or `"bfloat16"`.
      num_runs: int.
      options: dict, more arguments of the function.

    Yields:
      `Measurement`.
    """
    meter = Meter(num_runs, dtype)
    model = None
    if preset is not None:
        known = list_presets().get(preset, {"has_weights": True})
        policy = "mixed_bfloat16" if dtype == "bfloat16" else dtype
        model = ActionFormer.from_preset(preset, load_weights=known["has_weights"], dtype=policy)
    if what == "machine":
        yield from meter.measure_primitives()
    elif what in _OF_A_MODEL:
        yield from _OF_A_MODEL[what](model, meter, **(options or {}))
    else:
        yield from _OF_THE_MACHINE[what](meter, **(options or {}))


# === Network ===


def benchmark_forward(model, meter, lengths, batch_sizes=(1,), modes=None):
    """Measures the network alone, from features to raw outputs, of sequences of one length.

    Args:
      model: `ActionFormer`.
      meter: `Meter`.
      lengths: sequence of int, steps.
      batch_sizes: sequence of int.
      modes: sequence of str, see `available_modes`; None for all.
    """
    for mode in _all_or(modes):
        network = _network(model, mode)
        for batch_size in batch_sizes:
            for length in lengths:
                feats = _feats(model, length, batch_size)
                inputs = {
                    "feats": ops.convert_to_tensor(feats),
                    "mask": ops.ones((batch_size, length), "bool"),
                }
                yield meter.measure(
                    f"forward, {mode}, {meter.dtype}, batch {batch_size}",
                    lambda inputs=inputs: wait(network(inputs)),
                    length,
                    batch_size * gflop(model.architecture, length),
                )


def _all_or(modes):
    return available_modes() if modes is None else modes


def _feats(model, length, batch_size):
    """Made-up features, `(B, T, C)` float32."""
    shape = (batch_size, length, model.input["feats"].shape[-1])
    return np.random.default_rng(0).standard_normal(shape, "float32")


def _network(model, mode):
    """The raw model as a compiled function."""
    if keras.backend.backend() != "jax":
        return compiled(lambda inputs: model(inputs, training=False), mode)
    # Weights as arguments: as constants, they would be compiled into the program.
    network = compiled(
        lambda weights, inputs: model.stateless_call(*weights, inputs, training=False)[0], mode
    )
    weights = [
        [variable.value for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]
    return lambda inputs: network(weights, inputs)


def benchmark_mixed(model, meter, num_sequences=16, shortest=None, longest=None, modes=None):
    """Measures `detect` on sequences of many lengths in batches of 8, as they come in practice.

    Args:
      model: `ActionFormer`.
      meter: `Meter`.
      num_sequences: int.
      shortest, longest: ints, steps; lengths between are drawn with a fixed seed. By default from
        about a twelfth of the training length to all of it: 200 to 2304 steps for THUMOS14.
      modes: sequence of str, see `available_modes`; None for all.
    """
    longest = model.architecture.max_seq_len if longest is None else longest
    shortest = max(1, longest * 200 // 2304) if shortest is None else shortest
    lengths = np.random.default_rng(0).integers(shortest, longest + 1, num_sequences).tolist()
    for mode in _all_or(modes):
        yield meter.measure(
            f"detect, {mode}, {meter.dtype}, {num_sequences} of {shortest} to {longest} steps",
            _detection(model, lengths, jit_compile=mode == "xla"),
            gflop=sum(_detection_gflop(model, length) for length in lengths),
        )


def benchmark_detect(model, meter, lengths):
    """Measures `detect` on one sequence, call after call, and the graphs that do its work.

    Args:
      model: `ActionFormer`.
      meter: `Meter`.
      lengths: sequence of int, steps.
    """

    def measure(case, length, call):
        return meter.measure(case, call, length, with_memory=False)

    detector, mode = model.detector(), available_modes()[0]
    graphs = {
        "network": compiled(detector.network, mode),
        "network and decoding": compiled(detector.candidates, mode),
        "network, decoding and suppression": compiled(detector.graph, mode),
    }
    for length in lengths:
        batch = pad_batch(list(_feats(model, length, 1)))
        for name, graph in graphs.items():
            yield measure(name, length, lambda graph=graph, batch=batch: wait(graph(batch)))
        yield measure("detect", length, _detection(model, [length]))


def benchmark_long(model, meter, factors=(1, 2, 4, 8)):
    """Measures `detect` on one sequence that is longer than those of the training.

    Args:
      model: `ActionFormer`.
      meter: `Meter`.
      factors: sequence of int, lengths in units of the training length.
    """
    for factor in factors:
        length = factor * model.architecture.max_seq_len
        yield meter.measure(
            f"detect, {meter.dtype}",
            _detection(model, [length]),
            length,
            _detection_gflop(model, length),
        )


def measure_detection(model, num_steps, num_runs):
    """Measures `detect` on one sequence: a `Measurement` in milliseconds, with the memory.

    Args:
      model: `ActionFormer`.
      num_steps: int.
      num_runs: int.
    """
    return Meter(num_runs).measure("detect", _detection(model, [num_steps]), num_steps)


def _detection(model, lengths, jit_compile=None):
    """A call that detects in made-up sequences of these lengths."""
    sequences = [_feats(model, length, 1)[0] for length in lengths]
    grid = _grid(model)
    model.detector(jit_compile=jit_compile).expect(math.inf)  # what is measured is the graph
    return lambda: model.detect(sequences, grid=grid, batch_size=8, jit_compile=jit_compile)


def _grid(model):
    """The model's timing, with a frame rate."""
    grid = model.grid or FeatureGrid(25.0, 25.0, 25.0)
    return grid.with_fps(grid.fps or 25.0)


def _detection_gflop(model, length):
    return gflop(model.architecture, model.architecture.resize_to or length)


# === Training ===


def benchmark_train(model, meter, length=None, batch_size=2, modes=None, recompute=False):
    """Measures a training step: forward, backward, clipping, AdamW, averages of the weights.

    With the settings of `default_config`, on sequences of one length.

    Args:
      model: `ActionFormer`; it is trained.
      meter: `Meter`.
      length: int, steps; None for the training length.
      batch_size: int.
      modes: sequence of str, see `available_modes`; None for all.
      recompute: bool, see `ActionFormer.recompute`; what is computed twice counts as work once.
    """
    length, num_actions = length or model.architecture.max_seq_len, 10
    rng = np.random.default_rng(0)
    starts = rng.uniform(0, 0.9 * length, (batch_size, num_actions))
    ends = starts + rng.uniform(0.01 * length, 0.1 * length, starts.shape)
    inputs = {
        "feats": ops.convert_to_tensor(_feats(model, length, batch_size)),
        "mask": ops.ones((batch_size, length), "bool"),
    }
    actions = {
        "segments": ops.convert_to_tensor(np.stack([starts, ends], axis=-1), "float32"),
        "labels": ops.convert_to_tensor(
            rng.integers(0, model.architecture.num_classes, starts.shape), "int32"
        ),
    }

    def step():
        model.train_on_batch(inputs, actions)
        wait([variable.value for variable in model.trainable_variables])

    model.recompute = recompute
    case = "recompute step" if recompute else "training step"
    for mode in _all_or(modes):
        optimizer = Experiment(default_config()).make_optimizer(batches_per_epoch=100)
        model.compile(optimizer, jit_compile=mode == "xla")
        yield meter.measure(
            f"{case}, {mode}, {meter.dtype}, batch {batch_size}",
            step,
            length,
            _TRAINING_FACTOR * batch_size * gflop(model.architecture, length),
        )


def benchmark_attention(
    meter,
    num_heads=(4, 16),
    blocks=(18, 27, 32, 36, 54, 64, 72, 128),
    modes=None,
    num_steps=2304,
    width=512,
    window=19,
):
    """Measures local attention with blocks of several sizes, projections left out.

    Args:
      meter: `Meter`.
      num_heads, blocks: sequences of ints: heads, and queries of a block.
      modes: sequence of str, see `available_modes`; None for all.
      num_steps, width, window: ints, as for THUMOS14.
    """
    rng, mask = np.random.default_rng(0), ops.ones((1, num_steps), "bool")
    for heads in num_heads:
        shape = (1, num_steps, heads, width // heads)
        q, k, v = (
            ops.convert_to_tensor(rng.standard_normal(shape, "float32"), meter.dtype)
            for _ in range(3)
        )
        for mode, block in itertools.product(_all_or(modes), blocks):

            def attend(q, k, v, mask, block=block):
                return local_attention(q, k, v, mask, window, block=block)

            call = functools.partial(compiled(attend, mode), q, k, v, mask)
            yield meter.measure(
                f"attention, {heads} heads of {width // heads}, blocks of {block}, {mode}",
                lambda call=call: wait(call()),
                num_steps,
                with_memory=False,
            )


# === Suppression ===

# As for THUMOS14, but for 2400 candidates of each of five levels.
POSTPROCESS = PostProcess(pre_nms_topk=2400, max_seg_num=200, min_score=0.001, voting_thresh=0.7)


def benchmark_nms(meter, multiclass=(True, False), modes=None):
    """Measures decoding and Soft-NMS of 12,000 candidates of 20 classes to 200 detections.

    Args:
      meter: `Meter`.
      multiclass: sequence of bool: True suppresses within a class, False across classes, which
        then vote.
      modes: sequence of str, see `available_modes`; None for all.
    """
    *outputs, lengths = made_up_outputs()
    outputs = [ops.convert_to_tensor(x) for x in outputs]
    for within_class in multiclass:
        settings = dataclasses.replace(POSTPROCESS, multiclass_nms=within_class)

        def detect(logits, offsets, points, mask, settings=settings):
            return suppress(*decode(logits, offsets, points, mask, lengths, settings), settings)

        for mode in _all_or(modes):
            call = functools.partial(compiled(detect, mode), *outputs)
            yield meter.measure(
                f"Soft-NMS {'by class' if within_class else 'of all, voting'}, {mode}",
                lambda call=call: wait(call()),
            )


def made_up_outputs():
    """What a trained network might say of a sequence of 25 actions; five levels.

    Returns:
      What `decode` takes, as NumPy arrays: logits (1, P, K), offsets (1, P, 2), points (P, 4), mask
      (1, P), and the list of each level's number of points.
    """
    num_steps, num_classes, num_actions = 2304, 20, 25
    strides = (1, 2, 4, 8, 16)
    ranges = [(0, 4), (4, 8), (8, 16), (16, 32), (32, 10000)]
    points = ops.convert_to_numpy(make_points(num_steps, strides, ranges))
    rng = np.random.default_rng(0)
    time, stride = points[:, 0], points[:, 3]
    logits = rng.normal(-5.0, 1.5, (len(points), num_classes))
    offsets = rng.exponential(3.0, (len(points), 2))
    lengths = np.exp(rng.uniform(np.log(4), np.log(200), num_actions))
    starts = rng.uniform(0, num_steps - lengths)
    for start, end in zip(starts, starts + lengths, strict=True):
        inside = np.flatnonzero((time >= start) & (time <= end))
        # Every point inside sees the action, surer of it in the middle.
        middle = 1 - np.abs(2 * time[inside] - start - end) / (end - start)
        logits[inside, rng.integers(num_classes)] += 6 * middle
        ends = np.stack([time[inside] - start, end - time[inside]], axis=1)
        blur = np.maximum(rng.normal(1.0, 0.1, ends.shape), 0)
        offsets[inside] = ends * blur / stride[inside, None]
    return (
        logits[None].astype("float32"),
        offsets[None].astype("float32"),
        points,
        np.ones((1, len(points)), bool),
        [num_steps // stride for stride in strides],
    )


# === Data and evaluation ===


def benchmark_data(config, num_runs=7, batches_per_run=50):
    """Measures how fast a configuration's training batches are made, without any training.

    Twice: with the features in memory (as far as `data.cache_gb` allows), and read from their
    files each time (from the page cache of the operating system, where they fit into it).

    Args:
      config: `ConfigDict`, see `default_config`.
      num_runs: int.
      batches_per_run: int.

    Yields:
      `Measurement`: batches a second, and MB of features a second without padding.
    """
    experiment = Experiment(config)
    annotations = experiment.read_annotations()
    videos = experiment.training_videos(annotations)
    steps = experiment.count_batches(videos)
    num_epochs = -(-(num_runs + 1) * batches_per_run // steps)
    for case, cache_gb in (("data, in memory", config.data.cache_gb), ("data, from files", 0.0)):
        config = config.copy_and_resolve_references()
        config.data.cache_gb = cache_gb
        batches = iter(Experiment(config).training_stream(videos, range(num_epochs)))
        rates, volumes = [], []
        for run in range(num_runs + 1):
            start, num_bytes = time.perf_counter(), 0
            for _ in range(batches_per_run):
                x, _ = next(batches)
                num_bytes += int(np.sum(x["mask"])) * x["feats"].shape[-1] * 4
            seconds = time.perf_counter() - start
            if run:  # the first one starts the pipeline
                rates.append(batches_per_run / seconds)
                volumes.append(num_bytes / 1e6 / seconds)
        yield Measurement(case, "batches/s", tuple(rates))
        yield Measurement(case, "MB/s", tuple(volumes))


def benchmark_evaluate(meter, num_videos=5000, detections_per_video=200, num_classes=200):
    """Measures mAP and Recall@kx of made-up detections; by default a million of them.

    Args:
      meter: `Meter`.
      num_videos, detections_per_video, num_classes: ints.
    """
    rng = np.random.default_rng(0)
    videos, detections = [], {}
    for i in range(num_videos):
        starts = rng.uniform(0, 100, 3)
        actions = np.stack([starts, starts + rng.uniform(2, 30, 3)], axis=1)
        labels = rng.integers(0, num_classes, 3)
        video = Video(f"v{i}", "test", 150.0, 25.0, actions, labels)
        # Half of the detections lie about an action, and half of these have its class.
        about = rng.integers(0, 3, detections_per_video)
        segments_sec = actions[about] + rng.normal(0, 2, (detections_per_video, 2))
        astray = rng.random(detections_per_video) < 0.5
        segments_sec[astray] = rng.uniform(0, 130, (astray.sum(), 2))
        classes = rng.integers(0, num_classes, detections_per_video)
        right = rng.random(detections_per_video) < 0.5
        classes[right] = labels[about][right]
        scores = rng.random(detections_per_video)
        videos.append(video)
        detections[video.video_id] = Detections(np.sort(segments_sec, axis=1), scores, classes)
    count = num_videos * detections_per_video
    yield meter.measure(f"evaluation, {count} detections", lambda: evaluate(videos, detections))


# === Exports ===

# Their names, options, and whether they are calibrated.
_EXPORTS = (
    ("SavedModel", {"format": "saved_model"}, False),
    ("TFLite", {"format": "tflite"}, False),
    ("TFLite float16", {"format": "tflite", "precision": "float16"}, False),
    ("TFLite int8", {"format": "tflite", "precision": "int8"}, False),
    ("TFLite int8, calibrated", {"format": "tflite", "precision": "int8"}, True),
    ("ONNX", {"format": "onnx"}, False),
)


def benchmark_export(model, meter, lengths):
    """Measures one sequence from features to detections, in Keras and in each export format.

    Args:
      model: `ActionFormer`.
      meter: `Meter`.
      lengths: sequence of int, steps.

    Yields:
      `Measurement`: MB of each export's files, and milliseconds for each length.
    """

    def measure(case, length, call):
        return meter.measure(case, call, length, _detection_gflop(model, length), with_memory=False)

    for length in lengths:
        yield measure("detect, Keras", length, _detection(model, [length]))
    # Its steps are enough for ranges of activations, however short the lengths.
    calibration = list(_feats(model, model.architecture.max_seq_len, batch_size=4))
    for name, options, is_calibrated in _EXPORTS:
        with tempfile.TemporaryDirectory() as scratch:
            with quiet_start():
                folder, manifest = model.export_detector(
                    pathlib.Path(scratch, "model"),
                    calibration_feats=calibration if is_calibrated else None,
                    **options,
                )
            sizes = [file["bytes"] for file in manifest["files"].values()]
            yield Measurement(name, "MB", (sum(sizes) / 1e6,))
            exported = ExportedModel(folder, num_threads=os.cpu_count())
            for length in lengths:
                inputs = {
                    "feats": _feats(model, length, 1),
                    "fps": [25.0],
                    "duration_sec": [length],
                }
                yield measure(f"detect, {name}", length, functools.partial(exported, **inputs))


_OF_A_MODEL = {
    "forward": benchmark_forward,
    "mixed": benchmark_mixed,
    "detect": benchmark_detect,
    "train": benchmark_train,
    "long": benchmark_long,
    "export": benchmark_export,
}
_OF_THE_MACHINE = {
    "attention": benchmark_attention,
    "nms": benchmark_nms,
    "evaluate": benchmark_evaluate,
}
