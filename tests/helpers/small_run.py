"""A data set and a configuration so small that a training takes seconds."""

import contextlib
import json

import numpy as np

from keras_actionformer.training.config import default_config


def write_data(folder, num_videos=6, feats_dim=4, seed=0):
    """Writes `annotations.json` and `feats/`: actions are stretches where a channel is raised."""
    rng = np.random.default_rng(seed)
    (folder / "feats").mkdir(parents=True)
    database = {}
    for i in range(num_videos):
        steps = int(rng.integers(25, 40))
        feats = rng.normal(0, 0.3, (steps, feats_dim)).astype("float32")
        annotations = []
        for start in range(2, steps - 8, 10):
            label = int(rng.integers(2))
            end = start + int(rng.integers(3, 8))
            feats[start:end, label] += 2
            # One feature a second: step t stands for the second at t + 0.5.
            annotations.append({"label": "ab"[label], "label_id": label, "segment": [start, end]})
        np.save(folder / "feats" / f"v{i}.npy", feats)
        database[f"v{i}"] = {
            "subset": "test" if i >= num_videos - 2 else "training",
            "duration": steps,
            "fps": 1,
            "annotations": annotations,
        }
    (folder / "annotations.json").write_text(json.dumps({"database": database}))


def small_config(folder):
    """Settings for that data: a network of two levels, three epochs of two steps."""
    config = default_config()
    config.data.annotations = str(folder / "annotations.json")
    config.data.feats = str(folder / "feats")
    config.model.input_dim = 4
    config.model.num_classes = 2
    config.model.backbone_arch = (1, 0, 1)
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 8
    config.model.n_head = 2
    config.model.n_mha_win_size = 5
    config.model.max_seq_len = 32
    config.model.init_loss_norm = 10.0
    config.data.crop_ratio = (0.8, 1.0)
    config.train.learning_rate = 1e-2
    config.train.warmup_epochs = 1
    config.train.epochs = 2
    config.train.ema = 0.9
    config.postprocess.max_seg_num = 20
    return config


@contextlib.contextmanager
def eagerly():
    """Runs what TensorFlow would trace as it is: of a few steps, tracing takes most of the time."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)
