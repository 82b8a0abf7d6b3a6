"""FineAction from VideoMAE-H features, one class and video scores: OpenTAD's settings.

Data: annotations_gt.json, features (VideoMAE-H of InternVideo) and video scores for the 106 classes
(new_swinB_1x1x256_views2x3_max_label_avg_prob.json); tools/prepare_data/fineaction of
github.com/sming256/OpenTAD links them (no MD5 is published). With all three below one folder:

    keras-actionformer prepare --dataset=fineaction --from=FOLDER --to=data/fineaction
    keras-actionformer train --config=fineaction_videomae_h --workdir=runs/fineaction_videomae_h

Features are resized to 192 steps, over which a video's duration is shared out; actions of up to 1 %
of their video are not learned.

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set.

Published by OpenTAD, not measured here: mAP 29.44 19.46 5.06 at tIoU 0.5, 0.75 and 0.95, 19.32 on
average over 0.5, 0.55, ... 0.95 (of the best epoch).
"""

from keras_actionformer import default_config


def get_config():
    config = default_config("fineaction_videomae_h")
    config.data.annotations = "data/fineaction/annotations.json"
    config.data.feats = "data/fineaction/feats_videomae_h"
    config.data.missing_features = "skip"
    config.data.eval_subset = "validation"
    config.data.class_agnostic = True
    config.data.stride_frames = None
    config.data.outside = "keep"
    config.data.min_action_share = 0.01
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)
    config.fusion.video_scores = "data/fineaction/video_scores.json"

    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.epochs = 15
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 11
    config.tiou_thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    return config
