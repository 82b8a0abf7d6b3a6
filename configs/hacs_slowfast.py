"""HACS Segments from SlowFast features, one class and video scores: OpenTAD's settings.

Data: annotations (HACS_segments_v1.1.1.json), features (SlowFast-R101 fine-tuned on HACS) and the
video scores of TCANet for the 200 classes (validation94.32.json); tools/prepare_data/hacs of
github.com/sming256/OpenTAD links them (no MD5 is published). With all three below one folder:

    keras-actionformer prepare --dataset=hacs --from=FOLDER --to=data/hacs
    keras-actionformer train --config=hacs_slowfast --workdir=runs/hacs_slowfast

Videos of more than 960 steps are resized to 960 where they are scored; actions of up to 1 % of
their video are not learned.

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set.

Published by OpenTAD, not measured here: mAP 56.18 37.97 11.05 at tIoU 0.5, 0.75 and 0.95, 37.71 on
average over 0.5, 0.55, ... 0.95 (of the best epoch).
"""

from keras_actionformer import default_config


def get_config():
    config = default_config("hacs_slowfast")
    config.data.annotations = "data/hacs/annotations.json"
    config.data.feats = "data/hacs/feats"
    config.data.missing_features = "skip"
    config.data.eval_subset = "validation"
    config.data.class_agnostic = True
    config.data.outside = "keep"
    config.data.min_action_share = 0.01
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)
    config.fusion.video_scores = "data/hacs/video_scores.json"
    config.fusion.topk = 3
    config.fusion.rule = "twice_product"

    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.epochs = 10
    config.train.weight_decay = 0.03
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 9
    config.tiou_thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    return config
