"""The reference's numbers: where they are, which cases there are, how to read one and its parts.

Every test that compares with the reference takes its cases from the files themselves, so that more
files of the same kind can be put into the folder, or another folder be named by the environment
variable KERAS_ACTIONFORMER_GOLDEN.
"""

import json
import os
import pathlib

import numpy as np
import pytest

GOLDEN = pathlib.Path(
    os.environ.get("KERAS_ACTIONFORMER_GOLDEN") or pathlib.Path(__file__).parents[1] / "golden"
)


def cases(prefix):
    """Returns the `.npz` files at any depth whose name starts with `prefix`, as pytest params.

    Experiments of OpenTAD, in folders `o_*`, have files that are called as the reference's are.
    """
    paths = sorted(GOLDEN.rglob(f"{prefix}*.npz"))
    theirs = [path for path in paths if prefix.startswith("o") or not in_opentad_folder(path)]
    return [pytest.param(path, id=path.stem) for path in theirs]


def in_opentad_folder(path):
    return any(folder.startswith("o_") for folder in path.relative_to(GOLDEN).parts[:-1])


def load(path):
    """Returns the arrays of a golden file by name; those named `*_json` are parsed."""
    with np.load(path, allow_pickle=False) as file:
        return {
            name: json.loads(str(file[name])) if name.endswith("_json") else file[name]
            for name in file.files
        }


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


class ReplayedDraws:
    """Gives the random numbers the reference has drawn, and checks that it was asked the same."""

    def __init__(self, calls):
        self.calls = list(calls)

    def integers(self, low, high, endpoint):
        expected_low, expected_high, value = self.calls.pop(0)
        assert endpoint and (low, high) == (expected_low, expected_high)
        return value
