"""Ego4D Moment Queries, 110 classes, from InternVideo features: OpenTAD's settings.

Data: annotations as for `configs/ego4d_slowfast_opentad.py`, which says what is not done here, and
OpenTAD's features of the clips (VideoMAE-L of InternVideo, every 8 frames).

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_internvideo --workdir=runs/ego4d_internvideo

A feature is taken to stand for the middle of its 8 frames, as OpenTAD has it. The network has ten
levels and windows of 2048 steps.

Published by OpenTAD, not measured here: mAP 32.59 30.28 27.53 25.09 22.13 at tIoU 0.1 to 0.5, 27.52
on average.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("ego4d_slowfast_opentad.py")
    return load_config(base, architecture="ego4d_internvideo", features="internvideo")
