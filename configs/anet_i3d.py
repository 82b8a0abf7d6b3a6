r"""ActivityNet 1.3 from I3D features; all else is as in `configs/anet_tsp.py`.

Data: anet_1.3_i3d.tar.gz of the authors (github.com/happyharrycn/actionformer_release links it; MD5
e649425954e0123401650312dd0d56a7). The video scores are those of anet_1.3.tar.gz: where only the
I3D archive is there, prepare that one too, with the same --to.

    keras-actionformer prepare --dataset=activitynet --from=anet_1.3_i3d.tar.gz \
        --to=data/activitynet
    keras-actionformer train --config=anet_i3d --workdir=runs/anet_i3d

Published by the authors of the reference, not measured here: mAP 54.29 36.71 8.24 at tIoU 0.5, 0.75
and 0.95, 36.03 on average over 0.5, 0.55, ... 0.95.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    return load_config(pathlib.Path(__file__).with_name("anet_tsp.py"), features="i3d")
