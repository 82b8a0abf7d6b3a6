"""FineAction from VideoMAE V2-g features; all else is as in `configs/fineaction_videomae_h.py`.

Data: as there, with fineaction_mae_g.tar.gz of OpenGVLab/VideoMAEv2 (docs/TAD.md), unpacked.

    keras-actionformer prepare --dataset=fineaction --from=FOLDER --to=data/fineaction
    keras-actionformer train --config=fineaction_videomaev2_g --workdir=runs/fineaction_videomaev2_g

Published by OpenTAD, not measured here: mAP 29.85 19.72 5.17 at tIoU 0.5, 0.75 and 0.95, 19.62 on
average over 0.5, 0.55, ... 0.95 (of the best epoch).
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    config = load_config(pathlib.Path(__file__).with_name("fineaction_videomae_h.py"))
    config.data.feats = "data/fineaction/feats_videomaev2_g"
    config.model.input_dim = 1408
    config.train.epochs = 10
    config.train.val_from = 8
    return config
