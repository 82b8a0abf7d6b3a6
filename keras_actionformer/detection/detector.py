"""Inference: sequences of any length in, detections in seconds out."""

import dataclasses
import functools
import itertools

import keras
import numpy as np
from keras import ops

from keras_actionformer.arguments import from_fields
from keras_actionformer.data.windows import sliding_windows
from keras_actionformer.detection.decode import decode
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.postprocess import PostProcess
from keras_actionformer.detection.suppression import suppress
from keras_actionformer.detection.tiles import DEFAULT_STEPS, BestCandidates, cut_tile, plan_tiles
from keras_actionformer.network.padding import ResizeTo, inference_padding
from keras_actionformer.network.points import make_points, point_mask

# Candidates of windows or tiles are padded to this or its doubles: few shapes to compile for.
LEAST_CANDIDATES = 1024


@keras.saving.register_keras_serializable("keras_actionformer")
class CandidateDecoder(keras.layers.Layer):
    """Raw outputs to candidate segments in the graph.

    Args:
      strides: strides of the levels, in steps.
      regression_range: a pair a level.
      settings: `PostProcess`, or a dict of its fields.

    Call: `(logits (B, P, K), offsets (B, P, 2), mask (B, T)) -> segments (B, N, 2) in grid
    steps, scores (B, N), labels (B, N) int32, valid (B, N) bool`; see `decode`.
    """

    def __init__(self, strides, regression_range, settings, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})  # half precision would move ends
        self.strides = tuple(strides)
        self.regression_range = regression_range
        self.settings = from_fields("settings", settings, PostProcess)

    def call(self, logits, offsets, mask):
        num_steps = ops.shape(mask)[1]
        return decode(
            logits,
            offsets,
            make_points(num_steps, self.strides, self.regression_range),
            point_mask(mask, self.strides),
            [num_steps // stride for stride in self.strides],
            self.settings,
        )

    def compute_output_spec(self, logits, offsets, mask):
        return _candidates_spec(logits.shape[0], keras.KerasTensor)

    def get_config(self):
        return {
            **super().get_config(),
            "strides": self.strides,
            "regression_range": self.regression_range,
            "settings": dataclasses.asdict(self.settings),
        }


def _candidates_spec(batch, tensor):
    return (
        tensor((batch, None, 2), dtype="float32"),
        tensor((batch, None), dtype="float32"),
        tensor((batch, None), dtype="int32"),
        tensor((batch, None), dtype="bool"),
    )


@keras.saving.register_keras_serializable("keras_actionformer")
class Suppression(keras.layers.Layer):
    """Candidates to detections in the graph.

    Args:
      settings: `PostProcess`, or a dict of its fields.

    Call: `(segments (B, N, 2), scores (B, N), labels (B, N) int32, valid (B, N) bool) ->
    segments (B, M, 2), scores (B, M), labels (B, M) int32, num_detections (B,) int32`; see
    `suppress`.
    """

    def __init__(self, settings, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.settings = from_fields("settings", settings, PostProcess)

    def call(self, segments, scores, labels, valid):
        return suppress(segments, scores, labels, valid, self.settings)

    def compute_output_spec(self, segments, scores, labels, valid):
        batch = segments.shape[0]
        limit = None if self.settings.nms_method == "none" else self.settings.max_seg_num
        return (
            keras.KerasTensor((batch, limit, 2), "float32"),
            keras.KerasTensor((batch, limit), "float32"),
            keras.KerasTensor((batch, limit), "int32"),
            keras.KerasTensor((batch,), "int32"),
        )

    def get_config(self):
        return {**super().get_config(), "settings": dataclasses.asdict(self.settings)}


class Detector:
    """Runs an `ActionFormer` on sequences of any length, in batches.

    Args:
      model: `ActionFormer`.
      settings: `PostProcess`.
      jit_compile: bool, whether XLA compiles the graphs; None: as Keras decides (on a GPU, or
        with JAX).

    Attributes:
      network: `keras.Model`, `{"feats" (B, T, C), "num_steps" (B,) int32} -> {"logits" (B, P, K),
        "offsets" (B, P, 2), "mask" (B, T')}`: what the reference's network computes, of the
        sequences padded (or resized) to T' steps.
      graph: `keras.Model` from the same inputs to what `Suppression` returns.
    """

    def __init__(self, model, settings, jit_compile=None):
        self._jit_compile = jit_compile
        self._model = model
        self._settings = settings
        config = model.config
        self._padding = inference_padding(config)
        self._decoder = CandidateDecoder(
            model.strides, config["regression_range"], settings, name="decoder"
        )
        suppression = Suppression(settings, name="suppression")

        inputs = {
            "feats": keras.Input(model.input["feats"].shape[1:], name="feats"),
            "num_steps": keras.Input((), dtype="int32", name="num_steps"),
        }
        feats, num_steps = inputs["feats"], inputs["num_steps"]
        if config["force_upsampling"]:
            feats, num_steps = ResizeTo(config["max_seq_len"], name="resize")(feats, num_steps)
        feats, mask, present = self._padding(feats, num_steps)
        logits, offsets = self.raw_outputs(feats, mask, present)
        candidates = self._decoder(logits, offsets, mask)
        self.network = keras.Model(
            inputs, {"logits": logits, "offsets": offsets, "mask": mask}, name="network"
        )
        self.graph = keras.Model(inputs, suppression(*candidates), name="detector")
        # Its two halves: candidates of several windows or tiles are suppressed together.
        self._candidates_of = self._runner(keras.Model(inputs, candidates), first_traced=False)
        merged = _candidates_spec(None, lambda shape, dtype: keras.Input(shape[1:], dtype=dtype))
        self._suppressed = self._runner(keras.Model(merged, suppression(*merged)))

    def _runner(self, graph, first_traced=True):
        """The function that runs a graph on a batch."""
        if self._jit_compile is not None:
            graph.jit_compile = self._jit_compile
        if keras.backend.backend() == "tensorflow" and not self._is_compiled:
            return _TracedOnce(graph, first_traced)
        return graph.predict_on_batch

    @property
    def _is_compiled(self):
        """bool, whether every shape that a graph meets is compiled."""
        if keras.backend.backend() == "jax":
            return True
        return self.graph.jit_compile if self._jit_compile is None else self._jit_compile

    def raw_outputs(self, feats, mask, present):
        """What the network computes of padded features: logits (B, P, K), offsets (B, P, 2).

        Args:
          feats: (B, T', C) float, T' a multiple of the coarsest stride.
          mask: (B, T') bool, steps that are valid.
          present: (B, T') bool, steps that the reference would have (see padding.py).
        """
        backbone, neck, heads = (
            self._model.get_layer(name) for name in ("backbone", "neck", "heads")
        )
        levels, masks = backbone(feats, mask, present)
        return heads(
            neck(levels, masks),
            masks[self._model.config["fpn_start_level"] :],
            [present[:, ::stride] for stride in self._model.strides],
        )

    @functools.cached_property
    def _candidates_of_tile(self):
        """As `_candidates_of`, from what `cut_tile` returns."""
        inputs = {
            "feats": keras.Input(self._model.input["feats"].shape[1:], name="feats"),
            **{
                name: keras.Input((None,), dtype="bool", name=name)
                for name in ("mask", "present", "kept")
            },
        }
        outputs = self.raw_outputs(*(inputs[name] for name in ("feats", "mask", "present")))
        return self._runner(keras.Model(inputs, self._decoder(*outputs, inputs["kept"])))

    def detect(
        self,
        sequences,
        grids,
        durations_sec,
        batch_size,
        window_steps=None,
        window_overlap=0.5,
        tile_steps=None,
        verbose=0,
    ):
        """Detects actions in every sequence.

        Args:
          sequences: list of (T, C) arrays of numbers, or of what gives such when it is sliced.
          grids: list of `FeatureGrid`, one a sequence.
          durations_sec: list of floats or None, one a sequence.
          batch_size: int.
          window_steps: int, longest sequence the network runs on at once, or None for any; longer
            ones are cut to windows (see `sliding_windows`).
          window_overlap: float in [0, 1).
          tile_steps: int from `tile_length`, or None where the model cannot run in tiles: longer
            sequences run in tiles, if not in windows.
          verbose: 0, or Keras' `verbose` of a progress bar over the tiles of a sequence.

        Returns:
          List of `Detections`, in the order of the sequences.
        """
        if window_steps is not None:
            found = self._detect_in_windows(sequences, batch_size, window_steps, window_overlap)
        else:
            found = {
                i: self._detect_in_tiles(feats, tile_steps, verbose)
                for i, feats in enumerate(sequences)
                if tile_steps is not None and len(feats) > tile_steps
            }
            short = [i for i in range(len(sequences)) if i not in found]
            whole = self._detect_whole([sequences[i] for i in short], batch_size)
            found.update(zip(short, whole, strict=True))
            found = [found[i] for i in range(len(sequences))]
        results = []
        for (segments, scores, labels), grid, duration_sec in zip(
            found, grids, durations_sec, strict=True
        ):
            # In float32, as the reference converts and clips.
            segments_sec = np.maximum(grid.to_sec(segments), 0.0)
            if duration_sec is not None:
                segments_sec = np.minimum(segments_sec, duration_sec)
            results.append(Detections(segments_sec, scores, labels, self._model.class_names))
        return results

    def _detect_whole(self, sequences, batch_size):
        """Segments in steps (M, 2), scores (M,) and labels (M,) of every sequence."""
        found = [None] * len(sequences)
        candidates = self._candidates(sequences, batch_size)
        # Suppression takes little longer for many than for one, whatever batches they come from.
        while group := dict(itertools.islice(candidates, batch_size)):
            for i, detected in zip(group, self._suppress(list(group.values())), strict=True):
                found[i] = detected
        return found

    def _detect_in_windows(self, sequences, batch_size, window_steps, window_overlap):
        """As `_detect_whole`: candidates of all windows of a sequence, suppressed together."""
        places = [sliding_windows(len(feats), window_steps, window_overlap) for feats in sequences]
        windows = [
            feats[start : start + length]
            for feats, windows in zip(sequences, places, strict=True)
            for start, length in windows
        ]
        candidates = dict(self._candidates(windows, batch_size))
        candidates = map(candidates.get, range(len(windows)))
        found = []
        for windows in places:
            parts = [(start, *next(candidates)) for start, _ in windows]
            segments = np.concatenate([segments + start for start, segments, _, _ in parts])
            scores, labels = (np.concatenate([part[i] for part in parts]) for i in (2, 3))
            found += self._suppress([(segments, scores, labels)])
        return found

    def _detect_in_tiles(self, feats, tile_steps, verbose):
        """As `_detect_whole`, for one sequence."""
        model, num_steps = self._model, len(feats)
        padded_steps = self._padding.padded_steps(num_steps)
        present_steps = self._padding.reference_length(num_steps)
        tiles = plan_tiles(model.config, padded_steps, tile_steps)
        best = BestCandidates(self._settings, model.strides, model.config["num_classes"])
        progress = keras.utils.Progbar(len(tiles), unit_name="tile", verbose=verbose)
        for tile in tiles:
            batch = cut_tile(feats, tile, present_steps)
            outputs = self._candidates_of_tile(batch)
            segments, scores, labels, _ = (np.asarray(x[0]) for x in outputs)
            best.add(tile, segments, scores, labels)
            progress.add(1)
        return self._suppress([best.valid()])[0]

    def _suppress(self, candidates):
        """Segments, scores and labels that stay of those of each sequence."""
        *found, counts = (np.asarray(x) for x in self._suppressed(_pad(candidates)))
        return [tuple(x[row, :count] for x in found) for row, count in enumerate(counts)]

    def _candidates(self, sequences, batch_size):
        """Yields the index of each sequence, and segments, scores and labels of its candidates."""
        lengths = [len(feats) for feats in sequences]
        for indices in plan_batches(lengths, batch_size):
            # What is compiled must not meet a new shape with every batch.
            num_steps = round_up(lengths[indices[0]]) if self._is_compiled else None
            batch = pad_batch([sequences[i] for i in indices], num_steps)
            *outputs, valid = (np.asarray(x) for x in self._candidates_of(batch))
            for row, i in enumerate(indices):
                yield i, tuple(x[row][valid[row]] for x in outputs)


class _TracedOnce:
    """Runs a graph on TensorFlow, traced once for all lengths.

    Tracing takes seconds. (`predict_on_batch` would trace for the first length, and then for any.)

    Args:
      graph: `keras.Model`.
      first_traced: bool, False runs the first batch operation by operation: a single sequence
        would not pay for the tracing.
    """

    def __init__(self, graph, first_traced):
        import tensorflow as tf

        specs = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), graph.input)
        self._graph = graph
        self._traced = tf.function(graph, input_signature=[specs], autograph=False)
        self._use_traced = first_traced

    def __call__(self, batch):
        run = self._traced if self._use_traced else self._graph
        self._use_traced = True
        return run(batch)


def _pad(candidates):
    """A batch for `Suppression` of the candidates of several sequences, of one of few lengths."""
    counts = [len(scores) for _, scores, _ in candidates]
    length = LEAST_CANDIDATES
    while length < max(counts):
        length *= 2
    shape = len(candidates), length
    batch = np.zeros((*shape, 2), "float32"), np.zeros(shape, "float32"), np.zeros(shape, "int32")
    for row, count in enumerate(counts):
        for padded, values in zip(batch, candidates[row], strict=True):
            padded[row, :count] = values
    return *batch, np.arange(length) < np.array(counts)[:, None]


def round_up(num_steps):
    """The shortest length of few that is at least `num_steps`, and at most an eighth longer.

    64, then eight lengths between a power of two and the next: 72, 80, ... 128, 144, ...
    """
    num_steps = max(num_steps, 64)
    step = 2 ** ((num_steps - 1).bit_length() - 4)
    return -(-num_steps // step) * step


def plan_batches(lengths, batch_size):
    """Groups sequences of similar length, so that little is padded.

    Args:
      lengths: list of ints, steps of each sequence.
      batch_size: int, most sequences of a batch; fewer where they would have more steps together
        than a tile of `DEFAULT_STEPS`.

    Yields:
      List of indices into `lengths`, whose lengths `round_up` to the same.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for length, group in itertools.groupby(order, key=lambda i: round_up(lengths[i])):
        group, size = list(group), max(1, min(batch_size, DEFAULT_STEPS // length))
        for first in range(0, len(group), size):
            yield group[first : first + size]


def pad_batch(sequences, length=None):
    """Reads (T, C) arrays: `{"feats" (B, length, C) float32, "num_steps" (B,) int32}`.

    `length` is that of the longest by default.
    """
    num_steps = np.array([len(sequence) for sequence in sequences], "int32")
    shape = len(sequences), length or num_steps.max(), sequences[0].shape[1]
    feats = np.zeros(shape, "float32")
    for row, sequence in enumerate(sequences):
        feats[row, : len(sequence)] = sequence[:]
    return {"feats": feats, "num_steps": num_steps}
