"""ActivityNet 1.3 from TSP features, one class and video scores: OpenTAD's settings.

    keras-actionformer prepare --dataset=activitynet --from=FOLDER --to=data/activitynet
    keras-actionformer train --config=anet_tsp_opentad --workdir=runs/anet_tsp_opentad

What differs from `configs/anet_tsp.py`, which says where the data comes from: what
`configs/thumos14_i3d_strong.py` names for every data set; a training step drops 20 % of the input
channels; features are resized by RoI align, and the 192 steps share out a video's duration; actions
of up to 1 % of their video are not learned; scores of segment and video are multiplied, without a
root.

Scores leave out the videos that blocked.json names: OpenTAD's file (tools/prepare_data/activitynet
of github.com/sming256/OpenTAD links it), which is to be laid beside what the reference's archive
unpacks to. Without it, --config.data.blocked_videos= scores all.

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set; it takes features and annotations as they are before the authors of the reference filter them.

Published by OpenTAD, not measured here: mAP 55.08 38.27 8.91 at tIoU 0.5, 0.75 and 0.95, 37.07 on
average over 0.5, 0.55, ... 0.95.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config("anet_tsp_opentad")
    config.data.annotations = "data/activitynet/annotations_tsp.json"
    config.data.feats = "data/activitynet/feats_tsp"
    config.data.prefix = "v_"
    config.data.eval_subset = "validation"
    config.data.blocked_videos = "data/activitynet/blocked.json"
    config.data.class_agnostic = True
    config.data.outside = "keep"
    config.data.min_action_share = 0.01
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)
    config.fusion.video_scores = "data/activitynet/video_scores.json"
    config.fusion.rule = "product"

    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.epochs = 10
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 8
    config.tiou_thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    return config
