"""Ego4D Moment Queries, 110 classes, from InternVideo features: OpenTAD's settings.

Data: the official annotations (moments_train.json and moments_val.json of ego4d-data.org, which
needs a licence), and OpenTAD's features of the clips (VideoMAE-L of InternVideo, every 8 frames;
tools/prepare_data/ego4d of github.com/sming256/OpenTAD links them; no MD5 is published).

    keras-actionformer prepare --dataset=ego4d --from=FOLDER --to=data/ego4d
    keras-actionformer train --config=ego4d_internvideo --workdir=runs/ego4d_internvideo

A feature is taken to stand for the middle of its 8 frames, as OpenTAD has it.

What OpenTAD does that is not done here: all that `configs/thumos14_i3d_strong.py` lists for every
data set; a point of several actions learns the classes of all of them, not of the shortest; clips
are scored in windows of 2048 steps that do not overlap, and what is found in them is rounded before
suppression, not after it. As there, training ends after 20 of the 25 epochs.

Published by OpenTAD, not measured here: mAP 32.59 30.28 27.53 25.09 22.13 at tIoU 0.1 to 0.5, 27.52
on average.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()
    config.data.annotations = "data/ego4d/annotations_clips.json"
    config.data.feats = "data/ego4d/feats_internvideo"
    config.data.missing_features = "skip"  # clips without moments have none
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.fps = 30.0
    config.data.stride_frames = 8.0
    config.data.window_frames = 8.0
    config.data.trunc_thresh = 0.3
    config.data.crop_ratio = (0.9, 1.0)

    config.model.input_dim = 1024
    config.model.num_classes = 110
    config.model.backbone_arch = (2, 2, 9)
    config.model.n_mha_win_size = (17, 17, 17, 17, 17, 17, 17, -1, -1, -1)
    config.model.use_abs_pe = True
    config.model.regression_range = (
        (0, 4), (2, 8), (4, 16), (8, 32), (16, 64), (32, 128), (64, 256), (128, 512),
        (256, 1024), (512, 10000),
    )  # fmt: skip
    config.model.max_seq_len = 2048
    config.model.input_dropout = 0.2
    config.model.dropout = 0.1
    config.model.init_loss_norm = 100.0

    config.postprocess.duration_thresh = 0.0
    config.postprocess.max_seg_num = 2000
    config.postprocess.min_score = 0.001
    config.postprocess.nms_sigma = 2.0
    config.postprocess.drop_empty = False

    config.train.epochs = 20
    config.train.stop_after = 20
    config.train.ema = 0.999
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    return config
