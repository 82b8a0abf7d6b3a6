"""Charades, 157 classes, from VideoMAE-L features at 30 frames a second: OpenTAD's settings.

    keras-actionformer prepare --dataset=charades --from=FOLDER --to=data/charades
    keras-actionformer train --config=charades_videomae_l --workdir=runs/charades_videomae_l

What differs from `configs/charades_i3d_rgb.py`, which says where the data comes from and what
OpenTAD does that is not done here: features, eight levels instead of seven, and windows of 512
steps that overlap by half, in which videos are scored. A feature is taken to stand for the middle
of its 4 frames, as OpenTAD has it.

Published by OpenTAD, not measured here: mAP 38.87 29.67 17.52 at tIoU 0.2, 0.5 and 0.7, 26.04 on
average over 0.1 to 0.9.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("charades_i3d_rgb.py")
    config = load_config(base, architecture="charades_videomae_l")
    config.data.feats = "data/charades/feats_videomae_l"
    config.data.missing_features = "error"
    config.train.stop_after = 0  # all epochs
    return config
