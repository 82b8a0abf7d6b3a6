"""Ego4D Moment Queries from SlowFast and EgoVLP features in one projection.

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_slowfast_egovlp --workdir=runs/ego4d_slowfast_egovlp

The network has eight levels, a width of 768; all else is as in `configs/ego4d_slowfast.py`, which
says where the data comes from. The folder below must have the annotations, slowfast8x8_r101_k400
and egovlp_features, EgoVLP's of the clips (github.com/showlab/EgoVLP).

Published by the authors of the reference, not measured here: mAP 27.98 24.46 21.21 18.56 15.60 at
tIoU 0.1 to 0.5, 21.56 on average, of the checkpoint after 10 of the 15 epochs.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("ego4d_slowfast.py")
    return load_config(base, streams=("slowfast", "egovlp"))
