"""ActivityNet 1.3 from TSP features, one class and video scores: the reference's settings.

Data: anet_1.3.tar.gz of the authors (github.com/happyharrycn/actionformer_release links it; MD5
c415f50120b9425ee1ede9ac3ce11203), with the class scores of the CUHK classifier for the 200 classes.
Training videos train, validation videos are scored.

    keras-actionformer prepare --dataset=activitynet --from=anet_1.3.tar.gz --to=data/activitynet
    keras-actionformer train --config=anet_tsp --workdir=runs/anet_tsp

The network finds actions of one class, in features resized to 192 steps; each then counts for the
two best classes of its video.

Published by the authors of the reference, not measured here: mAP 54.67 37.81 8.36 at tIoU 0.5, 0.75
and 0.95, 36.56 on average over 0.5, 0.55, ... 0.95.
"""

from keras_actionformer import default_config


def get_config(features="tsp"):
    config = default_config(f"anet_{features}")
    config.data.annotations = f"data/activitynet/annotations_{features}.json"
    config.data.feats = f"data/activitynet/feats_{features}"
    config.data.prefix = "v_"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.class_agnostic = True
    config.data.crop_ratio = (0.9, 1.0)
    config.fusion.video_scores = "data/activitynet/video_scores.json"

    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.epochs = 10
    config.train.ema = 0.999
    config.tiou_thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    return config
