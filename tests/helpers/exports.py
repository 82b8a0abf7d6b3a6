"""Sequences for an export of a small model, and how to compare what comes out with Keras."""

import json
import subprocess
import sys

import numpy as np

from helpers.models import CHANNELS, LONGEST
from helpers.programs import ROOT
from keras_actionformer.data.grid import FeatureGrid

# As long as in training, a step less, longer, and very short: each is padded differently.
LENGTHS = (LONGEST, LONGEST - 1, 61, 3)


def small_sequences(lengths=LENGTHS, seed=7):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, CHANNELS)).astype("float32") for n in lengths]


def ragged_batch(sequences, padding, num_steps=None):
    """`feats` and `num_steps` of sequences in one batch, with a number past their ends."""
    lengths = np.array([len(x) for x in sequences], "int32")
    longest = num_steps or lengths.max()
    feats = np.full((len(sequences), longest, sequences[0].shape[1]), padding, "float32")
    for row, x in enumerate(sequences):
        feats[row, : len(x)] = x
    return {"feats": feats, "num_steps": lengths}


def detect(model, feats, fps=None, duration_sec=None):
    """What Keras detects in a sequence; without a grid of the model's, steps share the duration."""
    grid = model.grid or FeatureGrid(1, duration_sec / len(feats), duration_sec / len(feats))
    return model.detect(feats, fps=fps, duration_sec=duration_sec, grid=grid)


def assert_detects(outputs, row, expected):
    """A row of an export's outputs is what Keras detects, and zeros after that."""
    count = outputs["num_detections"][row]
    assert count == len(expected) > 0
    found = [outputs[f"detection_{name}"][row] for name in ("scores", "classes", "segments")]
    wanted = (expected.scores, expected.labels, expected.segments_sec)
    for x, y, tolerance in zip(found, wanted, (1e-5, 0, 1e-4), strict=True):
        np.testing.assert_allclose(x[:count], y, rtol=0, atol=tolerance)
        assert not x[count:].any()


_RUN_ALL = """
import json, sys
sys.path.append(sys.argv[1])
from keras_actionformer.deploy.exported import main
for line in sys.stdin:
    main(json.loads(line))
    print("done", flush=True)
"""


class OneProcess:
    """Runs exports as `export_check._run_alone` does, but all in one process without Keras.

    TensorFlow takes seconds to start.
    """

    def __init__(self):
        self._process = None

    def __call__(self, *paths):
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _RUN_ALL, ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        print(json.dumps([str(path) for path in paths]), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    def close(self):
        if self._process is not None:
            self._process.communicate()
