"""EPIC-KITCHENS-100, 97 verbs, from SlowFast features: OpenTAD's settings.

    keras-actionformer prepare --dataset=epic100 --from=epic_kitchens.tar.gz --to=data/epic100
    keras-actionformer train --config=epic_slowfast_verb_opentad --workdir=runs/epic_verb_opentad

What differs from `configs/epic_slowfast_verb.py`, which says where the data comes from: what
`configs/thumos14_i3d_strong.py` names for every data set, and 15 epochs after the warm-up instead
of 16.

What OpenTAD does that is not done here: what `configs/thumos14_i3d_strong.py` lists for every data
set.

Published by OpenTAD, not measured here: mAP 27.68 26.79 25.62 24.06 20.48 at tIoU 0.1 to 0.5, 24.93
on average.
"""

from keras_actionformer import default_config


def get_config(target="verb"):
    config = default_config(f"epic_slowfast_{target}_opentad")
    config.data.annotations = "data/epic100/annotations_verb.json"
    config.data.feats = "data/epic100/feats"
    config.data.suffix = ".npz"
    config.data.eval_subset = "validation"
    config.data.outside = "keep"
    config.data.whole_frames = True
    config.data.drop_repeated_actions = True
    config.data.drop_without_actions = True
    config.data.cut_beyond_ends = False
    config.data.crop_ratio = (0.9, 1.0)
    config.data.trunc_thresh = 0.3

    config.train.epochs = 15
    config.train.ema = 0.999
    config.train.val_every = 1
    config.train.val_from = 16
    config.tiou_thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    return config
