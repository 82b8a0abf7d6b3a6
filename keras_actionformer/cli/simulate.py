"""Writes a small made-up data set to try everything on: annotations.json and feats/*.npy.

  simulate --output=data/simulated
"""

from absl import flags

from keras_actionformer.simulate import simulate_dataset

_OUTPUT = flags.DEFINE_string("output", None, "Folder to write the data set to.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed gives another data set.", lower_bound=0)


def main():
    annotations = simulate_dataset(_OUTPUT.value, seed=_SEED.value)
    actions = sum(len(video.labels) for video in annotations.videos)
    sequences = len(annotations.videos)
    print(f"Wrote {sequences} sequences with {actions} actions to '{_OUTPUT.value}'.")
