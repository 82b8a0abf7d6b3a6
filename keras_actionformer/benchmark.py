"""Measurements on this machine, each as the median, least and most of several runs."""

import dataclasses
import os
import pathlib
import platform
import statistics
import tempfile
import time

import keras
import numpy as np

from keras_actionformer import recipe
from keras_actionformer.exported import ExportedModel
from keras_actionformer.timing import FeatureGrid


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One quantity, measured several times.

    Attributes:
      case: str, what was measured.
      quantity: str, with its unit.
      values: tuple of float, one a run.
    """

    case: str
    quantity: str
    values: tuple

    @property
    def median(self):
        """float."""
        return statistics.median(self.values)

    def __str__(self):
        low, high = min(self.values), max(self.values)
        return f"{self.case:<34} {self.median:>9.1f} {low:>9.1f} {high:>9.1f}  {self.quantity}"

    def to_dict(self):
        """Returns the measurement as plain numbers and strings."""
        return {
            **dataclasses.asdict(self),
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
        }


def machine():
    """Describes where measurements were made: dict of str to str or int."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": f"{keras.backend.backend()} {_backend_version()}",
        "numpy": np.__version__,
    }


def _backend_version():
    return __import__(keras.backend.backend()).__version__


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
    annotations = recipe.read_annotations(config)
    features = recipe.feature_files(config)
    videos = recipe.present_videos(config, annotations.subset(config.data.train_subset), features)
    steps = recipe.count_steps(config, videos, features)
    num_epochs = -(-(num_runs + 1) * batches_per_run // steps)
    for case, cache_gb in (("data, in memory", config.data.cache_gb), ("data, from files", 0.0)):
        config = config.copy_and_resolve_references()
        config.data.cache_gb = cache_gb
        batches = iter(recipe.training_stream(config, videos, features, num_epochs))
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


_EXPORTS = (
    ("SavedModel", {"format": "saved_model"}),
    ("TFLite", {"format": "tflite"}),
    ("TFLite float16", {"format": "tflite", "precision": "float16"}),
    ("TFLite int8", {"format": "tflite", "precision": "int8"}),
    ("ONNX", {"format": "onnx"}),
)


def benchmark_export(model, lengths, num_runs=7):
    """Measures how long one sequence takes from features to detections, in Keras and exported.

    Args:
      model: `ActionFormer`.
      lengths: list of int, steps of the sequence.
      num_runs: int.

    Yields:
      `Measurement`: MB of each export's files, and milliseconds for each length.
    """
    num_threads = os.cpu_count()
    channels = model.input["feats"].shape[-1]
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(n, channels)).astype("float32") for n in lengths]
    grid = model.grid or FeatureGrid(25.0, 25.0, 25.0)
    for feats in sequences:
        yield _time(
            f"Keras, {len(feats)} steps",
            lambda feats=feats: model.detect(feats, fps=grid.fps or 25.0, grid=grid),
            num_runs,
        )
    for name, options in _EXPORTS:
        with tempfile.TemporaryDirectory() as scratch:
            folder, manifest = model.export_detector(pathlib.Path(scratch, "model"), **options)
            sizes = [file["bytes"] for file in manifest["files"].values()]
            yield Measurement(name, "MB", (sum(sizes) / 1e6,))
            exported = ExportedModel(folder, num_threads=num_threads)
            for feats in sequences:
                inputs = {"feats": feats[None], "fps": [25.0], "duration_sec": [len(feats)]}
                yield _time(
                    f"{name}, {len(feats)} steps",
                    lambda inputs=inputs: exported(**inputs),
                    num_runs,
                )


def _time(case, function, num_runs):
    """Measures milliseconds of a call, after two that warm up."""
    milliseconds = []
    for _ in range(num_runs + 2):
        start = time.perf_counter()
        function()
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return Measurement(case, "ms", tuple(milliseconds[2:]))
