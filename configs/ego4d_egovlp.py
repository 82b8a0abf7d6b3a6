"""Ego4D Moment Queries from EgoVLP features.

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_egovlp --workdir=runs/ego4d_egovlp

The network has eight levels instead of seven, a width of 384; all else is as in
`configs/ego4d_slowfast.py`, which says where the data comes from. The folder below must have
the annotations and egovlp_features, EgoVLP's of the clips (github.com/showlab/EgoVLP).

Published by the authors of the reference, not measured here: mAP 26.84 23.86 20.57 17.19 14.54 at
tIoU 0.1 to 0.5, 20.60 on average, of the checkpoint after 10 of the 15 epochs.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("ego4d_slowfast.py")
    return load_config(base, streams=("egovlp",))
