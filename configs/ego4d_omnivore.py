"""Ego4D Moment Queries from Omnivore features.

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_omnivore --workdir=runs/ego4d_omnivore

The network has eight levels instead of seven; all else is as in `configs/ego4d_slowfast.py`, which
says where the data comes from. The folder below must have the annotations and
omnivore_video_swinl.

Published by the authors of the reference, not measured here: mAP 23.87 20.78 18.39 15.33 12.65 at
tIoU 0.1 to 0.5, 18.20 on average, of the checkpoint after 10 of the 15 epochs.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("ego4d_slowfast.py")
    return load_config(base, streams=("omnivore",))
