"""Settings, annotations, detections, scores and clients cost no framework."""

import subprocess
import sys

from keras_actionformer.cli import VERBS, module_name

FRAMEWORKS = {"keras", "tensorflow", "jax", "torch"}
PROGRAM = """
import sys

import numpy as np

from keras_actionformer import (
    Architecture,
    Detections,
    FeatureGrid,
    PostProcess,
    ServedModel,
    Video,
    analyze,
    compare,
    default_config,
    evaluate,
    list_presets,
    load_annotations,
    load_config,
    load_detections,
    save_annotations,
    save_detections,
)

PostProcess(nms_method="hard")
Architecture(input_dim=8, num_classes=1)
default_config()
assert list_presets()
segments_sec, labels = np.array([[0.0, 1.0]]), np.array([0])
truth = Video("a", "test", None, None, segments_sec, labels)
found = {"a": Detections(segments_sec, [0.5], labels)}
analyze([truth], found)
compare([truth], {"a": found, "b": found}, num_resamples=10)
print(evaluate([truth], found))
print("Loaded:", *sys.modules)
"""


def test_what_needs_no_network_loads_no_framework():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, score, loaded = done.stdout.splitlines()
    assert score.split()[0] == "Recall@5x" and "keras_actionformer" in loaded
    assert FRAMEWORKS.isdisjoint(loaded.split())


def test_no_verb_loads_a_framework_before_it_knows_what_to_do():
    """So `help VERB`, and what is wrong with options, come at once."""
    program = f"""
import importlib, sys
from absl import flags

for name in {[*map(module_name, VERBS)]}:
    importlib.import_module(name)
    for name in list(flags.FLAGS):  # of which the next verb may have one, too
        delattr(flags.FLAGS, name)
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "keras_actionformer.cli.detect" in done.stdout.split()
    assert FRAMEWORKS.isdisjoint(done.stdout.split())
