"""EPIC-SOUNDS, 44 sounds, from Auditory SlowFast features: the challenge's baseline.

Data: annotations of github.com/epic-kitchens/epic-sounds-annotations (EPIC_Sounds_train.csv and
EPIC_Sounds_validation.csv, with EPIC_100_video_info.csv of EPIC-KITCHENS-100 beside them), and the
features that the README of github.com/epic-kitchens/C10-epic-sounds-detection links (no MD5 is
published). With both below one folder:

    keras-actionformer prepare --dataset=epic_sounds --from=FOLDER --to=data/epic_sounds
    keras-actionformer train --config=epic_sounds --workdir=runs/epic_sounds

The challenge's evaluation leaves out the class "background" (id 13); `evaluate` does not.

Published score: none was found for these settings; nothing is measured here.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()
    config.data.annotations = "data/epic_sounds/annotations.json"
    config.data.feats = "data/epic_sounds/feats"
    config.data.suffix = ".npz"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.fps = 30.0
    config.data.stride_frames = 6.0
    config.data.window_frames = 32.0
    config.data.trunc_thresh = 0.3
    config.data.crop_ratio = (0.9, 1.0)

    config.model.input_dim = 2304
    config.model.num_classes = 44
    config.model.n_mha_win_size = 9
    config.model.regression_range = ((0, 4), (2, 8), (4, 16), (8, 32), (16, 64), (32, 10000))
    config.model.max_seq_len = 9216
    config.model.label_smoothing = 0.1
    config.model.init_loss_norm = 250.0

    config.postprocess.max_seg_num = 2000
    config.postprocess.min_score = 0.001
    config.postprocess.nms_sigma = 0.4
    config.postprocess.drop_empty = False

    config.train.epochs = 16
    config.train.ema = 0.999
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    return config
