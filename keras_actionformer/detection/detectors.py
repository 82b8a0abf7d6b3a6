"""The detectors that a model has built, which cost seconds of tracing each."""

import dataclasses

from keras_actionformer.detection.detector import Detector
from keras_actionformer.network.adapted_layers import layers_within


class Detectors:
    """Detectors of one model by their settings, as long as they fit it."""

    def __init__(self):
        self._built, self._parts = {}, []

    def get(self, model, max_detections, jit_compile):
        """The `Detector` of these settings, see `ActionFormer.detector`; built where there is none.

        Args:
          model: `ActionFormer`, the same in each call.
          max_detections, jit_compile: as for `ActionFormer.detect`.
        """
        parts = _traced_parts(model)
        # The same objects: some have an equality of their own.
        if list(map(id, parts)) != list(map(id, self._parts)):
            self._built, self._parts = {}, parts
        settings = model.postprocess
        if max_detections is not None:
            settings = dataclasses.replace(settings, max_seg_num=max_detections)
        key = settings, jit_compile
        if key not in self._built:
            self._built[key] = Detector(model, settings, jit_compile)
        return self._built[key]


def _traced_parts(model):
    """What traced graphs depend on besides values: layers, their policies, and variables."""
    layers = list(layers_within(model.layers))
    return [*layers, *(layer.dtype_policy for layer in layers), *model.variables]
