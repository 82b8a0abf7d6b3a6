"""MultiTHUMOS, 65 classes, from the RGB half of THUMOS14's I3D features: OpenTAD's settings.

Data: multithumos_anno.json (tools/prepare_data/multi-thumos of github.com/sming256/OpenTAD links
it) and the features of thumos.tar.gz (`configs/thumos14_i3d.py`), unpacked. With both below one
folder:

    keras-actionformer prepare --dataset=multithumos_rgb --from=FOLDER --to=data/multithumos_rgb
    keras-actionformer train --config=multithumos_i3d_rgb --workdir=runs/multithumos_i3d_rgb

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set. As there, training ends after 45 of the 65 epochs.

Published by OpenTAD, not measured here: mAP 53.52 39.05 19.69 at tIoU 0.2, 0.5 and 0.7, 34.02 on
average over 0.1 to 0.9.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config("multithumos_i3d_rgb")
    config.data.annotations = "data/multithumos_rgb/annotations.json"
    config.data.feats = "data/multithumos_rgb/feats"
    config.data.missing_features = "skip"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.whole_frames = True
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)

    config.train.epochs = 60
    config.train.stop_after = 45
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 36
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    return config
