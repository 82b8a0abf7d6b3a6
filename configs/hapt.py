"""Human activities and postural transitions from a smartphone's inertial sensors (UCI HAPT).

Data: UCI "Smartphone-Based Recognition of Human Activities and Postural Transitions", version
2.1 (Reyes-Ortiz et al., Neurocomputing 2015; no commercial use). Unpack UCI's zip, then

    keras-actionformer prepare --dataset=hapt --from=PATH/RawData --to=data/hapt
    keras-actionformer train --config=hapt --workdir=runs/hapt

Features are windows of 50 samples every 25 samples of the six channels at 50 Hz, flattened
channel by channel to 300 numbers. 21 users train (42 recordings), 9 test (19 recordings).

Measured on 2 CPU cores (TensorFlow 2.21), seeds 1 to 10, padded to 1280 steps and compiled by XLA:
average mAP 88.8 (87.2 to 90.3) on the test recordings. 2.1 minutes of training, without XLA.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()
    config.data.annotations = "data/hapt/annotations.json"
    config.data.feats = "data/hapt/feats"
    config.data.fps = 50.0
    config.data.stride_frames = 25.0
    config.data.window_frames = 50.0
    config.data.trunc_thresh = 0.5
    config.data.crop_ratio = (0.9, 1.0)

    config.model.input_dim = 300
    config.model.num_classes = 12
    config.model.backbone_arch = (2, 2, 5)
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 128
    config.model.n_head = 4
    config.model.n_mha_win_size = 9
    config.model.regression_range = ((0, 4), (2, 8), (4, 16), (8, 32), (16, 64), (32, 10000))
    config.model.max_seq_len = 1280
    config.model.droppath = 0.1
    config.model.init_loss_norm = 100.0

    config.train.batch_size = 2
    config.train.learning_rate = 1e-3
    config.train.warmup_epochs = 5
    config.train.epochs = 30
    config.train.weight_decay = 0.05
    config.train.clip_norm = 1.0
    config.train.ema = 0.999

    config.postprocess.nms_method = "soft"
    config.postprocess.multiclass_nms = True
    config.postprocess.nms_sigma = 0.5
    config.postprocess.max_seg_num = 200
    config.postprocess.min_score = 0.001
    return config
