"""Inference: sequences of any length in, detections in seconds out."""

import functools
import itertools

import keras
import numpy as np
from absl import logging

from keras_actionformer.data.windows import check_windows
from keras_actionformer.detection.batching import pad_batch, pad_candidates, plan_batches, round_up
from keras_actionformer.detection.decode import CandidateDecoder, candidates_spec
from keras_actionformer.detection.detections import Detections
from keras_actionformer.detection.raw_outputs import RawOutputs
from keras_actionformer.detection.seconds import (
    SECONDS,
    clipped_sec,
    grid_of_steps,
    rounded,
    windows_of,
)
from keras_actionformer.detection.suppression import Suppression
from keras_actionformer.detection.tiles import (
    DEFAULT_STEPS,
    BestCandidates,
    Tile,
    cut_tile,
    plan_tiles,
    tile_length,
    why_not_tiles,
)
from keras_actionformer.detection.traced_once import TracedOnce
from keras_actionformer.errors import UserError
from keras_actionformer.network.padding import inference_padding
from keras_actionformer.network.resizing import resizing

# Tracing the network takes about as long as its operations, called one by one, take longer than
# they do in a graph, of so many batches.
UNTRACED_BATCHES = 8


class Detector:
    """Runs a model on sequences of any length, in batches.

    Args:
      model: `ActionFormer`, or several of them as one (see `ensembles`).
      settings: `PostProcess`.
      jit_compile: bool, whether XLA compiles the graphs; None: as Keras decides (on a GPU, or
        with JAX).

    Attributes:
      network: `keras.Model`, `{"feats" (B, T, C), "num_steps" (B,) int32} -> {"logits" (B, P, K),
        "offsets" (B, P, 2), "mask" (B, T')}`: what the reference's network computes, of the
        sequences padded (or resized) to T' steps.
      candidates: `keras.Model` from the same inputs to what `Suppression` takes.
      graph: `keras.Model` from the same inputs to what `Suppression` returns.
    """

    def __init__(self, model, settings, jit_compile=None):
        self._jit_compile = jit_compile
        self._model = model
        self._settings = settings
        architecture = model.architecture
        self._padding = inference_padding(architecture)
        self._decoder = self._make_decoder()
        suppression = Suppression(settings, name="suppression")

        inputs = {
            "feats": keras.Input((None, architecture.channels), name="feats"),
            "num_steps": keras.Input((), dtype="int32", name="num_steps"),
        }
        feats, num_steps = inputs["feats"], inputs["num_steps"]
        self._resize = resizing(architecture)
        if self._resize is not None:
            feats, num_steps = self._resize(feats, num_steps)
        feats, mask, present = self._padding(feats, num_steps)
        logits, offsets = model.padded_outputs(feats, mask, present)
        candidates = self._decoder(logits, offsets, mask)
        self.network = keras.Model(
            inputs, {"logits": logits, "offsets": offsets, "mask": mask}, name="network"
        )
        self.candidates = keras.Model(inputs, candidates, name="candidates")
        self.graph = keras.Model(inputs, suppression(*candidates), name="detector")
        # Its two halves: candidates of several windows or tiles are suppressed together.
        self._candidates_of = self._runner(self.candidates, UNTRACED_BATCHES)
        merged = candidates_spec(None, lambda shape, dtype: keras.Input(shape[1:], dtype=dtype))
        self._suppressed = self._runner(keras.Model(merged, suppression(*merged)))

    def _runner(self, graph, num_untraced=0):
        """The function that runs a graph on a batch; `num_untraced` as in `TracedOnce`."""
        if self._jit_compile is not None:
            graph.jit_compile = self._jit_compile
        if keras.backend.backend() == "tensorflow" and not self._is_compiled:
            return TracedOnce(graph, num_untraced)
        return graph.predict_on_batch

    def expect(self, num_batches):
        """Tells how many batches of whole sequences are to come: many are worth tracing for."""
        if isinstance(self._candidates_of, TracedOnce):
            self._candidates_of.expect(num_batches)

    @property
    def _is_compiled(self):
        """bool, whether every shape that a graph meets is compiled."""
        if keras.backend.backend() == "jax":
            return True
        return self.graph.jit_compile if self._jit_compile is None else self._jit_compile

    def _make_decoder(self):
        """What makes candidates of logits, offsets and a mask."""
        architecture = self._model.architecture
        return CandidateDecoder(
            architecture.strides,
            architecture.regression_range,
            self._settings,
            architecture.point_offset,
            name="decoder",
        )

    @property
    def _choices(self):
        """int, candidates of a point."""
        return self._model.architecture.num_classes

    @functools.cached_property
    def _candidates_of_tile(self):
        """As `_candidates_of`, from what `cut_tile` returns."""
        inputs, outputs = self._tile_outputs()
        return self._runner(keras.Model(inputs, self._decoder(*outputs, inputs["kept"])))

    @functools.cached_property
    def _raw_of_tile(self):
        """Logits and offsets, from what `cut_tile` returns."""
        return self._runner(keras.Model(*self._tile_outputs()), UNTRACED_BATCHES)

    def _tile_outputs(self):
        """Symbolic inputs of a tile, by name, and the network's outputs."""
        inputs = {
            "feats": keras.Input((None, self._model.architecture.channels), name="feats"),
            **{
                name: keras.Input((None,), dtype="bool", name=name)
                for name in ("mask", "present", "kept")
            },
        }
        padded = (inputs[name] for name in ("feats", "mask", "present"))
        return inputs, self._model.padded_outputs(*padded)

    def detect(
        self,
        sequences,
        grids,
        durations_sec,
        batch_size,
        window_steps=None,
        window_overlap=None,
        tile_steps=None,
        verbose=0,
    ):
        """Detects actions in every sequence.

        Args:
          sequences: list of (T, C) arrays of numbers, or of what gives such when it is sliced.
          grids: list of `FeatureGrid`, one a sequence, with their frame rates; or of None where the
            settings share out durations.
          durations_sec: list of floats or None, one a sequence.
          batch_size: int.
          window_steps: int, longest sequence the network runs on at once, or None for what the
            settings say; longer ones are cut to windows (see `sliding_windows`).
          window_overlap: float in [0, 1), or None for what the settings say.
          tile_steps: int, longer sequences run in tiles of this length, if not in windows; None
            for the default of `tile_length`.
          verbose: 0, or Keras' `verbose` of a progress bar over the tiles of a sequence.

        Returns:
          List of `Detections`, in the order of the sequences.

        Raises:
          UserError: an argument is out of its range, the model has no windows or tiles to cut, or
            the network computes a NaN or infinity.
        """
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, but is {batch_size}.")
        if window_steps is None and tile_steps is None and self._settings.sliding_steps:
            window_steps = self._settings.sliding_steps
        grids = self._grids_of_steps(grids, sequences, durations_sec)
        if window_steps is not None:
            overlap = self._settings.sliding_overlap if window_overlap is None else window_overlap
            check_windows(window_steps, overlap)
            if self._model.architecture.resize_to is not None:
                raise UserError(
                    "The model resizes sequences to one length (force_upsampling), which leaves no "
                    "windows to cut: leave out window_steps."
                )
            if tile_steps is not None:
                raise UserError("Give either window_steps or tile_steps: windows need no tiles.")
            timing = list(zip(grids, durations_sec, strict=True))
            found = self._detect_in_windows(sequences, timing, batch_size, window_steps, overlap)
            if self._settings.round_results:
                grids = [SECONDS] * len(grids)
        else:
            tile_steps = self._tile_length(tile_steps, max(map(len, sequences), default=0))
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
        for i, (segments, scores, labels) in enumerate(found):
            if np.isnan(scores).any():
                raise UserError(self._not_finite(sequences[i], self._name_of(i, sequences)))
            segments_sec = clipped_sec(segments, grids[i], durations_sec[i])
            if self._settings.round_results:
                segments_sec, scores = rounded(segments_sec, scores)
            detections = Detections(segments_sec, scores, labels, self._model.class_names)
            if self._settings.drop_empty:
                detections = detections[segments_sec[:, 0] < segments_sec[:, 1]]
            results.append(detections)
        return results

    def raw(self, sequences, grids, durations_sec):
        """Runs the network alone, in tiles where a sequence is long.

        Args:
          sequences, grids, durations_sec: as for `detect`.

        Returns:
          List of `RawOutputs`, in the order of the sequences.

        Raises:
          UserError: the network computes a NaN or infinity.
        """
        results = []
        grids = self._grids_of_steps(grids, sequences, durations_sec)
        for i, (feats, grid) in enumerate(zip(sequences, grids, strict=True)):
            found = self._raw(feats, grid)
            if not (np.isfinite(found.segments_sec).all() and np.isfinite(found.scores).all()):
                raise UserError(self._not_finite(feats, self._name_of(i, sequences)))
            results.append(found)
        return results

    def _raw(self, feats, grid):
        """The `RawOutputs` of a sequence."""
        architecture = self._model.architecture
        tile_steps = self._tile_length(None, len(feats))
        if self._resize is not None:
            num_steps = np.array([len(feats)], "int32")
            feats = np.asarray(self._resize(np.asarray(feats[:], "float32")[None], num_steps)[0])[0]
        padded_steps = self._padding.padded_steps(len(feats))
        present_steps = self._padding.reference_length(len(feats))
        tiles = [Tile(0, padded_steps, 0, padded_steps)]
        if tile_steps is not None and padded_steps > tile_steps:
            tiles = plan_tiles(architecture, padded_steps, tile_steps)
        found = [[] for _ in architecture.strides]
        for tile in tiles:
            batch = cut_tile(feats, tile, present_steps)
            logits, offsets = (x[0] for x in self._raw_of_tile(batch))
            scores = np.asarray(keras.ops.sigmoid(keras.ops.cast(logits, "float32")))
            offsets, first = np.asarray(offsets).astype("float32"), 0
            for level, stride in enumerate(architecture.strides):
                points = np.arange(0, tile.stop - tile.start, stride, dtype="float32")
                points += np.float32(architecture.point_offset * stride)
                kept = batch["kept"][0, ::stride]
                rows = np.arange(first, first + len(points))[kept]
                first += len(points)
                reach = offsets[rows] * np.float32(stride)
                segments = points[kept][:, None] + reach * np.array([-1, 1], "float32")
                in_steps = np.column_stack([points[kept], segments]).astype("float64") + tile.start
                found[level].append((in_steps.astype("float32"), scores[rows]))
        in_steps, scores = (
            np.concatenate([part[i] for level in found for part in level]) for i in (0, 1)
        )
        seconds = grid.to_sec(in_steps)
        counts = [sum(len(part) for _, part in level) for level in found]
        return RawOutputs(
            points_sec=seconds[:, 0],
            levels=np.repeat(np.arange(len(counts)), counts),
            scores=scores,
            segments_sec=seconds[:, 1:],
            class_names=self._model.class_names,
        )

    def _grids_of_steps(self, grids, sequences, durations_sec):
        """The `FeatureGrid` of the steps that the network sees of each sequence."""
        architecture = self._model.architecture
        return [
            grid_of_steps(architecture, self._settings, grid, len(feats), duration_sec)
            for grid, feats, duration_sec in zip(grids, sequences, durations_sec, strict=True)
        ]

    @staticmethod
    def _name_of(i, sequences):
        """What messages call a sequence."""
        return f"feats[{i}]" if len(sequences) > 1 else "feats"

    def _not_finite(self, feats, name):
        """A sentence on a sequence of which the network computes a NaN or infinity."""
        where, largest, largest_step = "", -1.0, 0
        for start in range(0, len(feats), DEFAULT_STEPS):
            piece = feats[start : start + DEFAULT_STEPS]
            sizes = np.abs(piece).max(axis=1)
            if sizes.max() > largest:
                largest, largest_step = float(sizes.max()), start + int(sizes.argmax())
            outputs = self.network.predict_on_batch(pad_batch([piece]))
            logits, offsets, mask = (
                np.asarray(outputs[name][0]) for name in ("logits", "offsets", "mask")
            )
            finest = mask[:: self._model.strides[0]]  # the coarser ones see far
            is_finite = np.isfinite(logits).all(axis=1) & np.isfinite(offsets).all(axis=1)
            bad = np.flatnonzero(finest & ~is_finite[: len(finest)])
            if bad.size and not where:
                where = f", first at step {start + bad[0] * self._model.strides[0]}"
        heads = [layer for layer in self._model.layers if layer.name == "heads"]
        dtypes = sorted({layer.compute_dtype for layer in heads})
        return (
            f"The network computes NaN or infinite numbers of {name}{where}. Its largest feature "
            f"is {largest:.4g} (step {largest_step}), and the network computes in "
            f"{' and '.join(dtypes)}: are the features such as the model "
            "was trained on, and its weights not damaged?"
        )

    def _tile_length(self, tile_steps, longest):
        """Steps of a tile for sequences of up to `longest` steps, or None for one pass."""
        steps = tile_length(self._model.architecture, tile_steps)
        if steps is None and longest > DEFAULT_STEPS:
            logging.warning(
                "A sequence of %d steps runs in one pass, which takes memory for all of it: the "
                "model cannot run in tiles, because %s.",
                longest,
                why_not_tiles(self._model.architecture),
            )
        return steps

    def _detect_whole(self, sequences, batch_size):
        """Segments in steps (M, 2), scores (M,) and labels (M,) of every sequence."""
        found = [None] * len(sequences)
        candidates = self._candidates(sequences, batch_size)
        # Suppression takes little longer for many than for one, whatever batches they come from.
        while group := dict(itertools.islice(candidates, batch_size)):
            for i, detected in zip(group, self._suppress(list(group.values())), strict=True):
                found[i] = detected
        return found

    def _detect_in_windows(self, sequences, timing, batch_size, window_steps, overlap):
        """As `_detect_whole`: candidates of all windows of a sequence, suppressed together.

        With `round_results` that happens in seconds, which are rounded before, and the result is in
        seconds, too.

        Args:
          timing: list of (`FeatureGrid`, duration or None), one a sequence.
        """
        places = [
            windows_of(self._settings, len(feats), *times, window_steps, overlap)
            for feats, times in zip(sequences, timing, strict=True)
        ]
        windows = [
            feats[start : start + length]
            for feats, windows in zip(sequences, places, strict=True)
            for start, length in windows
        ]
        candidates = dict(self._candidates(windows, batch_size))
        candidates = map(candidates.get, range(len(windows)))
        found = []
        for i, windows in enumerate(places):
            parts = [(start, *next(candidates)) for start, _ in windows]
            segments = np.concatenate([segments + start for start, segments, _, _ in parts])
            scores, labels = (np.concatenate([part[k] for part in parts]) for k in (2, 3))
            if self._settings.round_results:
                segments, scores = rounded(clipped_sec(segments, *timing[i]), scores)
            found += self._suppress([(segments, scores, labels)])
        return found

    def _detect_in_tiles(self, feats, tile_steps, verbose):
        """As `_detect_whole`, for one sequence."""
        architecture, num_steps = self._model.architecture, len(feats)
        padded_steps = self._padding.padded_steps(num_steps)
        present_steps = self._padding.reference_length(num_steps)
        tiles = plan_tiles(architecture, padded_steps, tile_steps)
        best = BestCandidates(self._settings, architecture.strides, self._choices)
        progress = keras.utils.Progbar(len(tiles), unit_name="tile", verbose=verbose)
        for tile in tiles:
            batch = cut_tile(feats, tile, present_steps)
            outputs = self._candidates_of_tile(batch)
            segments, scores, labels, _ = (np.asarray(x[0]) for x in outputs)
            best.add(tile, segments, scores, labels)
            progress.add(1)
        return self._suppress([best.valid()])[0]

    def detect_tail(self, feats, start, first_kept):
        """What is detected in the end of a sequence, of which only that is read.

        Args:
          feats: (T, C) array-like.
          start: int, the first step to read, a multiple of the coarsest stride.
          first_kept: int, likewise, the first step whose points count.

        Returns:
          Segments (M, 2) in steps from `start`, scores (M,) and labels (M,), best first.
        """
        architecture, num_steps = self._model.architecture, len(feats)
        stop = self._padding.padded_steps(num_steps)
        tile = Tile(start, stop, first_kept, stop)
        batch = cut_tile(feats, tile, self._padding.reference_length(num_steps))
        segments, scores, labels, _ = (np.asarray(x[0]) for x in self._candidates_of_tile(batch))
        best = BestCandidates(self._settings, architecture.strides, self._choices)
        # Counted from the start: in a stream of days, float32 would not tell steps apart.
        best.add(Tile(0, stop - start, first_kept - start, stop - start), segments, scores, labels)
        return self._suppress([best.valid()])[0]

    def _suppress(self, candidates):
        """Segments, scores and labels that stay of those of each sequence."""
        *found, counts = (np.asarray(x) for x in self._suppressed(pad_candidates(candidates)))
        return [tuple(x[row, :count] for x in found) for row, count in enumerate(counts)]

    def _candidates(self, sequences, batch_size):
        """Yields the index of each sequence, and segments, scores and labels of its candidates."""
        lengths = [len(feats) for feats in sequences]
        batches = list(plan_batches(lengths, batch_size))
        self.expect(len(batches))
        for indices in batches:
            # What is compiled must not meet a new shape with every batch.
            num_steps = round_up(lengths[indices[0]]) if self._is_compiled else None
            batch = pad_batch([sequences[i] for i in indices], num_steps)
            *outputs, valid = (np.asarray(x) for x in self._candidates_of(batch))
            for row, i in enumerate(indices):
                yield i, tuple(x[row][valid[row]] for x in outputs)
