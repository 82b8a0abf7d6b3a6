"""A detector that TensorFlow Serving runs somewhere else, asked over REST or gRPC.

Nothing here loads Keras; only gRPC, whose messages are TensorFlow's, loads TensorFlow.
"""

from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np

from keras_actionformer.checks import number, whole
from keras_actionformer.deploy.asking import (
    ASK_FOR,
    INPUTS,
    OUTPUTS,
    as_detections,
    questions,
)
from keras_actionformer.deploy.client_transport import open_service
from keras_actionformer.deploy.exported import SIGNATURE
from keras_actionformer.detection.detections import Detections
from keras_actionformer.errors import UserError, counted

_MOST_DETECTIONS = 100_000  # that an answer may have, whatever the server says of its model
_LONGEST_TIMEOUT_SEC = 1_000_000  # systems differ in how much more they take


class ServedModel:
    """A detector behind TensorFlow Serving, used like the `ActionFormer` it was exported from.

    Example:

    ```python
    model = ServedModel("http://localhost:8501/v1/models/thumos14", class_names=names)
    detections = model.detect(np.load("video.npy"), fps=30)
    ```

    Args:
      url: str, `http://HOST:8501/v1/models/NAME` for REST (or https), or `grpc://HOST:8500/NAME`
        for gRPC, which takes a fraction of the time for long sequences and needs the extra
        `grpc`; each may end in `/versions/N`, or else the server's latest version answers.
      class_names: sequence of str, index = class id, as in the `assets/labels.txt` of the export;
        empty to get ids alone.
      timeout_sec: float, how long to wait for the server each time.

    Attributes:
      url, class_names, timeout_sec: the arguments.
      input_dim: int, the channels of the features that the model takes.

    Raises:
      UserError: the URL has another form, no server answers there, it has no such model, the model
        is no detector, or it has another number of classes.
    """

    def __init__(
        self, url: str, class_names: Sequence[str] = (), timeout_sec: float = 60.0
    ) -> None:
        self.url = url
        self.class_names = tuple(class_names)
        self.timeout_sec = number("timeout_sec", timeout_sec)
        if not 0 < self.timeout_sec <= _LONGEST_TIMEOUT_SEC:
            raise UserError(
                f"timeout_sec must be above 0 and at most {_LONGEST_TIMEOUT_SEC}, but is "
                f"{timeout_sec}."
            )
        self._service = open_service(url, self.timeout_sec)
        self.input_dim, self._most_detections, self._needed = self._check_signatures()

    @overload
    def detect(
        self,
        feats: np.ndarray,
        fps: float | None = None,
        duration_sec: float | None = None,
        *,
        max_detections: int | None = None,
        score_threshold: float | None = None,
    ) -> Detections: ...
    @overload
    def detect(
        self,
        feats: Iterable[np.ndarray],
        fps: float | Sequence[float] | None = None,
        duration_sec: float | Sequence[float] | None = None,
        *,
        max_detections: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Detections]: ...
    def detect(
        self, feats, fps=None, duration_sec=None, *, max_detections=None, score_threshold=None
    ):
        """Detects actions in one sequence of features or in many, which are sent one by one.

        Args:
          feats: (T, input_dim) float array: one sequence; or a list, generator or
            `tf.data.Dataset` of such arrays of any lengths.
          fps: float, or one a sequence: frames per second of the video, where it differs from
            the model's timing.
          duration_sec: float, or one a sequence: detections are clipped to [0, duration].
          max_detections: int, most detections of a sequence; default: as many as the model was
            exported to give.
          score_threshold: float, drops detections below it; default: none are dropped here.

        Returns:
          `Detections`, best first; a list of them, in the order of the input, for many.

        Raises:
          UserError: features of a wrong shape, empty or not finite; no timing known; the server
            cannot be reached, refuses the request or does not answer with detections.
        """
        model = f"The model at {self.url}"
        asked, single = questions(feats, fps, duration_sec, self.input_dim, model, self._needed)
        if max_detections is not None:
            self._check_max_detections(max_detections)
        results = []
        for inputs in asked:
            outputs = self._service.predict(
                {name: value[None] for name, value in inputs.items()},
                min(self._most_detections or _MOST_DETECTIONS, _MOST_DETECTIONS),
            )
            answer = f"The answer of the server at {self.url}"
            detections = as_detections(outputs, self.class_names, answer)[:max_detections]
            if score_threshold is not None:
                detections = detections.filter(min_score=score_threshold)
            results.append(detections)
        return results[0] if single else results

    def _check_signatures(self):
        """Checks what the server says of its model.

        Returns:
          (int, int or None, set of str): channels, most detections, and the inputs that the model
          has no value of its own for.
        """
        signatures = self._service.signatures()
        try:
            signature = signatures.get(SIGNATURE, {"inputs": {}, "outputs": {}})
            for side, names in (("inputs", INPUTS), ("outputs", OUTPUTS)):
                for name in names:
                    if name not in signature[side]:
                        raise UserError(
                            f"The model at {self.url} is no exported ActionFormer: its signature "
                            f"{SIGNATURE!r} lacks {name!r} in its {side}; check the name in the "
                            "URL."
                        )
            batch, num_steps, input_dim = _shape(signature["inputs"]["feats"])
            if batch not in (-1, 1) or num_steps != -1:
                raise UserError(
                    f"The model at {self.url} was exported for features of the one shape "
                    f"{(batch, num_steps, input_dim)}; export it with any batch and time."
                )
            limit = _shape(signature["outputs"]["detection_scores"])[-1]
            logits = signatures.get("raw", {}).get("outputs", {}).get("logits")
            num_classes = -1 if logits is None else _shape(logits)[-1]
            if input_dim < 1:
                raise ValueError("feats of any width")
            # Servers from before the time of default values tell nothing of them.
            defaults = signature.get("defaults")
            needed = {name for name in ASK_FOR if defaults and name not in defaults}
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"The server at {self.url} describes its model as TensorFlow Serving never does "
                f"({type(error).__name__}: {error}); check the URL."
            ) from error
        if self.class_names and num_classes not in (-1, len(self.class_names)):
            raise UserError(
                f"The model at {self.url} has {counted(num_classes, 'class')}, but there are "
                f"{len(self.class_names)} class names; take the labels.txt of its export."
            )
        return input_dim, limit if limit > 0 else None, needed

    def _check_max_detections(self, max_detections):
        if whole("max_detections", max_detections) < 1:
            raise UserError(f"max_detections must be at least 1, but is {max_detections}.")
        if self._most_detections is not None and max_detections > self._most_detections:
            raise UserError(
                f"max_detections is {max_detections}, but the model at {self.url} was exported to "
                f"give at most {self._most_detections}."
            )


def _shape(tensor_info):
    """The shape in the JSON of a TensorInfo, a list of int, -1 where any length will do."""
    return [int(dim["size"]) for dim in tensor_info["tensor_shape"]["dim"]]
