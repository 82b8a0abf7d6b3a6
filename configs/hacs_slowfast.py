"""HACS Segments from SlowFast features, one class and video scores: OpenTAD's settings.

Data: annotations (HACS_segments_v1.1.1.json), features (SlowFast-R101 fine-tuned on HACS) and the
video scores of TCANet for the 200 classes (validation94.32.json); tools/prepare_data/hacs of
github.com/sming256/OpenTAD links them (no MD5 is published). With all three below one folder:

    keras-actionformer prepare --dataset=hacs --from=FOLDER --to=data/hacs
    keras-actionformer train --config=hacs_slowfast --workdir=runs/hacs_slowfast

What OpenTAD does that is not done here: all that `configs/thumos14_i3d_strong.py` lists for every
data set; as there is one class, candidates of any score go into suppression; videos of more than
960 steps are resized to 960 where they are scored.

Published by OpenTAD, not measured here: mAP 56.18 37.97 11.05 at tIoU 0.5, 0.75 and 0.95, 37.71 on
average over 0.5, 0.55, ... 0.95 (of the best epoch).
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()
    config.data.annotations = "data/hacs/annotations.json"
    config.data.feats = "data/hacs/feats"
    config.data.missing_features = "skip"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.class_agnostic = True
    config.data.fps = 15.0
    config.data.stride_frames = 8.0
    config.data.window_frames = 32.0
    config.data.crop_ratio = (0.9, 1.0)
    config.fusion.video_scores = "data/hacs/video_scores.json"
    config.fusion.topk = 3

    config.model.input_dim = 2304
    config.model.num_classes = 1
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 256
    config.model.n_mha_win_size = (13, 13, 13, 13, 13, -1)
    config.model.use_abs_pe = True
    config.model.max_seq_len = 960
    config.model.input_dropout = 0.1
    config.model.label_smoothing = 0.1
    config.model.init_loss_norm = 400.0

    config.postprocess.pre_nms_topk = 2000
    config.postprocess.duration_thresh = 0.0
    config.postprocess.max_seg_num = 100
    config.postprocess.min_score = 0.001
    config.postprocess.nms_sigma = 0.75
    config.postprocess.drop_empty = False

    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.epochs = 10
    config.train.weight_decay = 0.03
    config.train.ema = 0.999
    config.tiou_thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    return config
