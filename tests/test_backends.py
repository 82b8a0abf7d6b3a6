"""One preset, three backends: the same weights, the same detections."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest

from keras_actionformer import ActionFormer, FeatureGrid, PostProcess
from keras_actionformer.detection.detections import load_detections

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np
from keras_actionformer import ActionFormer, save_detections
model = ActionFormer.from_preset(sys.argv[2] + "/preset")
model.save_to_preset(sys.argv[2] + "/" + keras.backend.backend())
with np.load(sys.argv[2] + "/feats.npz") as file:
    feats = {name: file[name] for name in file.files}
found = dict(zip(feats, model.detect(list(feats.values()), batch_size=3)))
save_detections(sys.argv[2] + "/" + keras.backend.backend() + ".json", found)
"""


def _model(method, multiclass):
    keras.utils.set_random_seed(3)
    model = ActionFormer(
        6,
        3,
        backbone_arch=(2, 1, 2),
        embd_dim=8,
        fpn_dim=8,
        head_dim=8,
        n_head=2,
        n_mha_win_size=[5, 5, -1],
        use_abs_pe=True,
        use_rel_pe=True,
        fpn_type="fpn",
        max_seq_len=64,
        postprocess=PostProcess(
            nms_method=method, multiclass_nms=multiclass, max_seg_num=40, min_score=0.001
        ),
        grid=FeatureGrid(25, 4, 16),
        class_names=("a", "b", "c"),
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value + rng.normal(0, 0.2, variable.shape))
    return model


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize(
    "method, multiclass",
    [("soft", True), pytest.param("hard", False, marks=pytest.mark.slow)],
)
def test_another_backend_gives_the_same_detections(tmp_path, backend, method, multiclass):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    model = _model(method, multiclass)
    model.save_to_preset(tmp_path / "preset")
    rng = np.random.default_rng(1)
    feats = {f"v{n}": rng.normal(size=(n, 6)).astype("float32") for n in (1, 30, 64, 70)}
    np.savez(tmp_path / "feats.npz", **feats)
    root = str(pathlib.Path(__file__).parents[1])
    subprocess.run(
        [sys.executable, "-c", PROGRAM, root, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
    assert (tmp_path / backend / "config.json").read_bytes() == (
        tmp_path / "preset" / "config.json"
    ).read_bytes()
    with (
        h5py.File(tmp_path / "preset" / "model.weights.h5") as ours,
        h5py.File(tmp_path / backend / "model.weights.h5") as theirs,
    ):
        for variable in model.trainable_variables:
            np.testing.assert_array_equal(theirs[variable.path], ours[variable.path])
    theirs = load_detections(tmp_path / f"{backend}.json", class_names=model.class_names)
    for name, ours in zip(feats, model.detect(list(feats.values())), strict=True):
        assert len(ours) == len(theirs[name]) > 0
        np.testing.assert_allclose(theirs[name].scores, ours.scores, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(theirs[name].labels, ours.labels)
        np.testing.assert_allclose(theirs[name].segments_sec, ours.segments_sec, rtol=0, atol=1e-4)
