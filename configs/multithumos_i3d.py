"""MultiTHUMOS from two-stream I3D features; all else is as in `configs/multithumos_i3d_rgb.py`.

    keras-actionformer prepare --dataset=multithumos --from=FOLDER --to=data/multithumos
    keras-actionformer train --config=multithumos_i3d --workdir=runs/multithumos_i3d

Published by OpenTAD, not measured here: mAP 60.18 45.01 24.56 at tIoU 0.2, 0.5 and 0.7, 39.19 on
average over 0.1 to 0.9.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("multithumos_i3d_rgb.py")
    config = load_config(base)
    config.data.annotations = "data/multithumos/annotations.json"
    config.data.feats = "data/multithumos/feats"
    config.model.input_dim = 2048
    return config
