"""A model at work: the detectors that it has built, which cost seconds of tracing each."""

import dataclasses

from keras_actionformer.detection.detector import Detector
from keras_actionformer.detection.inputs import open_inputs
from keras_actionformer.network.adapted_layers import layers_within
from keras_actionformer.quiet import check_process


def detect_with(
    model,
    feats,
    fps=None,
    duration_sec=None,
    batch_size=8,
    max_detections=None,
    score_threshold=None,
    grid=None,
    window_steps=None,
    window_overlap=None,
    tile_steps=None,
    jit_compile=None,
    verbose=0,
):
    """What `ActionFormer.detect` does, which explains it, for several models as one, too."""
    check_process()
    sequences, grids, durations_sec, single = open_inputs(model, feats, grid, fps, duration_sec)
    results = model.detector(max_detections, jit_compile).detect(
        sequences,
        grids,
        durations_sec,
        batch_size,
        window_steps,
        window_overlap,
        tile_steps,
        verbose,
    )
    results = [found[:max_detections].filter(min_score=score_threshold) for found in results]
    return results[0] if single else results


def raw_with(model, feats, fps=None, grid=None, duration_sec=None):
    """What `ActionFormer.raw` does, which explains it."""
    check_process()
    sequences, grids, durations_sec, single = open_inputs(model, feats, grid, fps, duration_sec)
    results = model.detector().raw(sequences, grids, durations_sec)
    return results[0] if single else results


class Detectors:
    """Detectors of one model by their settings, as long as they fit it.

    Args:
      make: `Detector`, or a class that derives from it.
    """

    def __init__(self, make=Detector):
        self._make, self._built, self._layers, self._parts = make, {}, [], []

    def get(self, model, max_detections, jit_compile):
        """The `Detector` of these settings, see `ActionFormer.detector`; built where there is none.

        Args:
          model: `ActionFormer`, or several of them as one; the same in each call.
          max_detections, jit_compile: as for `ActionFormer.detect`.
        """
        # The same objects: some have an equality of their own.
        if list(map(id, self._traced_parts(model))) != list(map(id, self._parts)):
            self._built, self._layers = {}, list(layers_within(model.layers))
            self._parts = self._traced_parts(model)
        settings = model.postprocess
        if max_detections is not None:
            settings = dataclasses.replace(settings, max_seg_num=max_detections)
        key = settings, jit_compile
        if key not in self._built:
            self._built[key] = self._make(model, settings, jit_compile)
        return self._built[key]

    def _traced_parts(self, model):
        """What traced graphs depend on besides values: layers, variables, and dtype policies.

        Layers within layers show by their variables: to find them takes longer than a short
        sequence's suppression.
        """
        policies = [layer.dtype_policy for layer in self._layers]
        return [*model.layers, *model.variables, *policies]
