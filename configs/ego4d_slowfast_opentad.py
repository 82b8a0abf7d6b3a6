"""Ego4D Moment Queries, 110 classes, from SlowFast features of clips: OpenTAD's settings.

Data: the official annotations (moments_train.json and moments_val.json of ego4d-data.org, which
needs a licence), and OpenTAD's features of the clips (mq_slowfast; tools/prepare_data/ego4d of
github.com/sming256/OpenTAD links them; no MD5 is published).

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_slowfast_opentad --workdir=runs/ego4d_slowfast_opentad

A point of several actions learns the classes of all of them; clips are scored in windows of 1024
steps that do not overlap, and what is found in them is rounded before suppression.

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set. As there, training ends after 20 of the 25 epochs.

Published by OpenTAD, not measured here: mAP 20.90 18.12 15.81 14.25 12.21 at tIoU 0.1 to 0.5, 16.26
on average.
"""

from keras_actionformer import default_config


def get_config(architecture="ego4d_slowfast_opentad", features="clips_slowfast"):
    config = default_config(architecture)
    config.data.annotations = "data/ego4d/annotations_clips.json"
    config.data.feats = f"data/ego4d/feats_{features}"
    config.data.missing_features = "skip"  # clips without moments have none
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.whole_frames = True
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)
    config.data.trunc_thresh = 0.3

    config.train.epochs = 20
    config.train.stop_after = 20
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 13
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    return config
