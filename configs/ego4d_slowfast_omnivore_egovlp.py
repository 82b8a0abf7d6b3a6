"""Ego4D Moment Queries from SlowFast, Omnivore and EgoVLP features, each with its projection.

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_slowfast_omnivore_egovlp --workdir=runs/ego4d_soe

The network has eight levels, a width of 256 + 384 + 384; all else is as in
`configs/ego4d_slowfast.py`, which says where the data comes from. The folder below must have
the annotations, slowfast8x8_r101_k400, omnivore_video_swinl and egovlp_features, EgoVLP's of the
clips (github.com/showlab/EgoVLP). The reference's first network of these features, with seven
levels and a width of 384 + 384 + 256, reached 20.95.

Published by the authors of the reference, not measured here: mAP 28.26 24.69 21.88 19.35 16.28 at
tIoU 0.1 to 0.5, 22.09 on average, of the checkpoint after 10 of the 15 epochs.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("ego4d_slowfast.py")
    return load_config(base, streams=("slowfast", "omnivore", "egovlp"))
