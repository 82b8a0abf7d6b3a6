"""Charades, 157 classes, from I3D (RGB) features fine-tuned on it: OpenTAD's settings.

Data: charades.json and the features; tools/prepare_data/charades of github.com/sming256/OpenTAD
links them (no MD5 is published). With both below one folder:

    keras-actionformer prepare --dataset=charades --from=FOLDER --to=data/charades
    keras-actionformer train --config=charades_i3d_rgb --workdir=runs/charades_i3d_rgb

What OpenTAD does that is not done here: all that `configs/thumos14_i3d_strong.py` lists for every
data set; videos of more than 768 steps are resized to 768 where they are scored. As there, training
ends after 15 of the 20 epochs. These are the settings of June 2024; those of March 2024 reached
19.39.

Published by OpenTAD, not measured here: mAP 31.33 23.07 13.60 at tIoU 0.2, 0.5 and 0.7, 20.60 on
average over 0.1 to 0.9.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()
    config.data.annotations = "data/charades/annotations.json"
    config.data.feats = "data/charades/feats_i3d_rgb"
    config.data.missing_features = "skip"
    config.data.eval_subset = "testing"
    config.data.outside = "keep"
    config.data.fps = 24.0
    config.data.stride_frames = 8.0
    config.data.window_frames = 0.0  # a feature stands for the first of its frames
    config.data.crop_ratio = (0.9, 1.0)

    config.model.input_dim = 1024
    config.model.num_classes = 157
    config.model.backbone_arch = (2, 2, 6)
    config.model.n_mha_win_size = -1
    config.model.use_abs_pe = True
    config.model.max_seq_len = 768
    config.model.input_dropout = 0.3
    config.model.init_loss_norm = 100.0

    config.postprocess.pre_nms_topk = 2000
    config.postprocess.duration_thresh = 0.0
    config.postprocess.max_seg_num = 1000
    config.postprocess.min_score = 0.001
    config.postprocess.nms_sigma = 0.3
    config.postprocess.drop_empty = False

    config.train.batch_size = 16
    config.train.epochs = 15
    config.train.stop_after = 15
    config.train.ema = 0.999
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    return config
