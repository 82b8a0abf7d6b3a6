"""Charades, 157 classes, from I3D (RGB) features fine-tuned on it: OpenTAD's settings.

Data: charades.json and the features; tools/prepare_data/charades of github.com/sming256/OpenTAD
links them (no MD5 is published). With both below one folder:

    keras-actionformer prepare --dataset=charades --from=FOLDER --to=data/charades
    keras-actionformer train --config=charades_i3d_rgb --workdir=runs/charades_i3d_rgb

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set. As there, training ends after 15 of the 20 epochs. These are the settings of June 2024; those
of March 2024 reached 19.39.

Published by OpenTAD, not measured here: mAP 31.33 23.07 13.60 at tIoU 0.2, 0.5 and 0.7, 20.60 on
average over 0.1 to 0.9.
"""

from keras_actionformer import default_config


def get_config(architecture="charades_i3d_rgb"):
    config = default_config(architecture)
    config.data.annotations = "data/charades/annotations.json"
    config.data.feats = "data/charades/feats_i3d_rgb"
    config.data.missing_features = "skip"
    config.data.eval_subset = "testing"
    config.data.outside = "keep"
    config.data.whole_frames = True
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)

    config.train.batch_size = 16
    config.train.epochs = 15
    config.train.stop_after = 15
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 8
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    return config
