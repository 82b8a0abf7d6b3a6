"""THUMOS14, 20 sports, from two-stream I3D features: the reference's settings.

Data: thumos.tar.gz of the authors (github.com/happyharrycn/actionformer_release links it; MD5
375f76ffbf7447af1035e694971ec9b2). 200 validation videos train, the test videos are scored.

    keras-actionformer prepare --dataset=thumos14 --from=thumos.tar.gz --to=data/thumos14
    keras-actionformer train --config=thumos14_i3d --workdir=runs/thumos14_i3d

Published by the authors of the reference, not measured here: mAP 82.13 77.80 70.95 59.40 43.87 at
tIoU 0.3 to 0.7, 66.83 on average.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config("thumos14_i3d")
    config.data.annotations = "data/thumos14/annotations.json"
    config.data.feats = "data/thumos14/feats"
    config.data.train_subset = "validation"
    config.data.eval_subset = "test"
    config.data.outside = "keep"
    config.data.crop_ratio = (0.9, 1.0)
    config.train.ema = 0.999
    return config
