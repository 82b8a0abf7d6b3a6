"""Measurements on this machine, each as the median, least and most of several runs."""

import dataclasses
import os
import platform
import statistics
import time

import keras
import numpy as np

from keras_actionformer import recipe


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
