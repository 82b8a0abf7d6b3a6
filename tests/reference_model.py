"""Models of golden files: the file's configuration and weights as an `ActionFormer`."""

import keras
import numpy as np

from keras_actionformer.model import ActionFormer
from keras_actionformer.network.blocks import LayerScale
from keras_actionformer.presets.reference import load_reference_parameters, model_arguments


def reference_model(golden, **overrides):
    """The model of a golden file, with the parameters under `param/`."""
    model = ActionFormer(**{**model_arguments(golden["config_json"]), **overrides})
    load_reference_parameters(model, group(golden, "param/"))
    return model


def without_stochastic_depth(layer):
    """Sets every drop rate to 0, as the files with training steps do; scales stay."""
    if isinstance(layer, LayerScale):
        layer.drop.rate = 0.0
    for child in layer._layers:
        without_stochastic_depth(child)


def group(golden, prefix):
    """The arrays whose name starts with `prefix`, without it."""
    return {k[len(prefix) :]: v for k, v in golden.items() if k.startswith(prefix)}


def join_levels(golden, prefix, count):
    """Arrays `<prefix>0 ... <prefix><count - 1>` joined on the axis of points (second to last)."""
    return np.concatenate([golden[f"{prefix}{i}"] for i in range(count)], axis=-2)


def padded_training_batch(golden, prefix, max_seq_len):
    """The videos under `prefix` (`v0/feats`, ...) as a padded training batch `(x, y)`."""
    videos = []
    while f"{prefix}v{len(videos)}/feats" in golden:
        video = f"{prefix}v{len(videos)}/"
        videos.append({k: golden[video + k] for k in ("feats", "segments", "labels")})
    most = max(1, max(len(v["labels"]) for v in videos))
    channels = videos[0]["feats"].shape[0]
    feats = np.zeros((len(videos), max_seq_len, channels), "float32")
    mask = np.zeros((len(videos), max_seq_len), bool)
    segments = np.zeros((len(videos), most, 2), "float32")
    labels = np.full((len(videos), most), -1, "int32")
    for row, video in enumerate(videos):
        steps, count = video["feats"].shape[1], len(video["labels"])
        feats[row, :steps] = video["feats"].T
        mask[row, :steps] = True
        segments[row, :count] = video["segments"].reshape(-1, 2)
        labels[row, :count] = video["labels"]
    return {"feats": feats, "mask": mask}, {"segments": segments, "labels": labels}


def to_numpy(x):
    """A tensor of any backend as a NumPy array."""
    return keras.ops.convert_to_numpy(x)
