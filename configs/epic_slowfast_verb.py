"""EPIC-KITCHENS-100, 97 verbs, from SlowFast features: the reference's settings.

Data: epic_kitchens.tar.gz of the authors (github.com/happyharrycn/actionformer_release links it;
MD5 add9803756afd9a023bc9a9c547e0229). Training videos train, validation videos are scored.

    keras-actionformer prepare --dataset=epic100 --from=epic_kitchens.tar.gz --to=data/epic100
    keras-actionformer train --config=epic_slowfast_verb --workdir=runs/epic_slowfast_verb

Published by the authors of the reference, not measured here: mAP 26.58 25.42 24.15 22.29 19.09 at
tIoU 0.1 to 0.5, 23.51 on average.
"""

from keras_actionformer import default_config


def get_config(target="verb"):
    config = default_config(f"epic_slowfast_{target}")
    config.data.annotations = f"data/epic100/annotations_{target}.json"
    config.data.feats = "data/epic100/feats"
    config.data.suffix = ".npz"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.trunc_thresh = 0.3
    config.data.crop_ratio = (0.9, 1.0)

    config.train.epochs = 16
    config.train.ema = 0.999
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    return config
