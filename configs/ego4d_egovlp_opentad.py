"""Ego4D Moment Queries, 110 classes, from EgoVLP features of clips: OpenTAD's settings.

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_egovlp_opentad --workdir=runs/ego4d_egovlp_opentad

Features (mq_egovlp) and a width of 384 differ from `configs/ego4d_slowfast_opentad.py`, which says
where the data comes from and what is not done here.

Published by OpenTAD, not measured here: mAP 27.79 24.97 22.37 19.25 16.25 at tIoU 0.1 to 0.5, 22.13
on average.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("ego4d_slowfast_opentad.py")
    return load_config(base, architecture="ego4d_egovlp_opentad", features="clips_egovlp")
