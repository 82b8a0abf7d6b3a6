"""FineAction from VideoMAE-H features, one class and video scores: OpenTAD's settings.

Data: annotations_gt.json, features (VideoMAE-H of InternVideo) and video scores for the 106 classes
(new_swinB_1x1x256_views2x3_max_label_avg_prob.json); tools/prepare_data/fineaction of
github.com/sming256/OpenTAD links them (no MD5 is published). With all three below one folder:

    keras-actionformer prepare --dataset=fineaction --from=FOLDER --to=data/fineaction
    keras-actionformer train --config=fineaction_videomae_h --workdir=runs/fineaction_videomae_h

Features are resized to 192 steps, over which a video's duration is shared out.

What OpenTAD does that is not done here: all that `configs/thumos14_i3d_strong.py` lists for every
data set; as there is one class, candidates of any score go into suppression, whose voting weighs by
score alone, not by score times tIoU; features are resized by RoI-align with half precision, not by
linear interpolation, and step i stands for i / 192 of the duration, not for (i + 1/2) / 192;
training leaves out actions of up to 1 % of their video.

Published by OpenTAD, not measured here: mAP 29.44 19.46 5.06 at tIoU 0.5, 0.75 and 0.95, 19.32 on
average over 0.5, 0.55, ... 0.95 (of the best epoch).
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()
    config.data.annotations = "data/fineaction/annotations.json"
    config.data.feats = "data/fineaction/feats_videomae_h"
    config.data.missing_features = "skip"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.class_agnostic = True
    config.data.stride_frames = None
    config.data.crop_ratio = (0.9, 1.0)
    config.fusion.video_scores = "data/fineaction/video_scores.json"

    config.model.input_dim = 1280
    config.model.num_classes = 1
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 256
    config.model.n_mha_win_size = (7, 7, 7, 7, 7, -1)
    config.model.use_abs_pe = True
    config.model.max_seq_len = 192
    config.model.force_upsampling = True
    config.model.label_smoothing = 0.1
    config.model.loss_weight = 2.0
    config.model.init_loss_norm = 200.0

    config.postprocess.pre_nms_topk = 2000
    config.postprocess.duration_thresh = 0.0
    config.postprocess.multiclass_nms = False
    config.postprocess.max_seg_num = 100
    config.postprocess.min_score = 0.001
    config.postprocess.nms_sigma = 0.75
    config.postprocess.voting_thresh = 0.9
    config.postprocess.drop_empty = False

    config.train.batch_size = 16
    config.train.learning_rate = 1e-3
    config.train.epochs = 15
    config.train.ema = 0.999
    config.tiou_thresholds = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    return config
