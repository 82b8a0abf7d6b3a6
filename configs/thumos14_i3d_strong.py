"""THUMOS14 with the choices that OpenTAD made for ActionFormer.

    keras-actionformer prepare --dataset=thumos14 --from=thumos.tar.gz --to=data/thumos14
    keras-actionformer train --config=thumos14_i3d_strong --workdir=runs/thumos14_i3d_strong

What differs from `configs/thumos14_i3d.py`, where data, features and training are described:
  - a training step drops 20 % of the input channels; the reference drops none;
  - 2000 detections of a video are kept; the reference keeps 200;
  - candidates may be of any length; the reference drops those of under 0.05 steps.

What OpenTAD does with every data set, unlike the reference and unlike here:
  - the layer norms of the embedding, of the heads and between the two have an epsilon of 1e-6; here
    1e-5, as in the blocks;
  - embedding and heads set the padding to zero a second time, after norm and ReLU; here only right
    after the convolution, so that what stands behind a video's end differs;
  - a random window cuts actions at its own ends; here at half a feature window beyond them;
  - the `pre_nms_topk` best candidates of all levels together go into suppression; here those of
    each level;
  - the model is scored after each of the last epochs, and the best is told; here the last one is,
    unless `data.val_subset` names the subset of the test;
  - times of detections are rounded to 0.01 s and scores to 0.0001, and times of actions are cut to
    whole frames (not in HACS and FineAction).
And with THUMOS14 alone: the videos video_test_0000270 and video_test_0001292 are left out of the
test.

Published by OpenTAD (github.com/sming256/OpenTAD), not measured here: mAP 83.78 80.06 73.16 60.46
44.72 at tIoU 0.3 to 0.7, 68.44 on average.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    config = load_config(pathlib.Path(__file__).with_name("thumos14_i3d.py"))
    config.model.input_dropout = 0.2
    config.postprocess.max_seg_num = 2000
    config.postprocess.duration_thresh = 0.0
    return config
