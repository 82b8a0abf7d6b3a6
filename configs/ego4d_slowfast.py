"""Ego4D Moment Queries, 110 classes, from SlowFast features: the reference's settings.

Data: moments_train.json, moments_val.json and the features of whole videos of ego4d-data.org (a
licence is needed; no MD5 is published), here slowfast8x8_r101_k400, which `prepare` cuts to clips.
(It takes ego4d.json and slowfast_features, too, of tools/convert_ego4d_trainval.py of
github.com/happyharrycn/actionformer_release.) Training clips train, validation clips are scored.

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_slowfast --workdir=runs/ego4d_slowfast

Published by the authors of the reference, not measured here: mAP 20.09 17.45 14.44 12.46 10.00 at
tIoU 0.1 to 0.5, 14.89 on average, of the checkpoint after 10 of the 15 epochs.
"""

from keras_actionformer import default_config


def get_config(streams=("slowfast",)):
    config = default_config(f"ego4d_{'_'.join(streams)}")
    config.data.annotations = "data/ego4d/annotations.json"
    config.data.feats = tuple(f"data/ego4d/feats_{stream}" for stream in streams)
    config.data.unequal_streams = "to_first"  # EgoVLP's have other lengths than those cut to clips
    config.data.missing_features = "skip"  # as the reference does
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.trunc_thresh = 0.3
    config.data.crop_ratio = (0.9, 1.0)

    config.train.epochs = 10
    config.train.stop_after = 10  # the published model's, of 5 + 10
    config.train.ema = 0.999
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    return config
