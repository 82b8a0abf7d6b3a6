"""A template for your own data: copy this file and change what is marked with "yours".

    keras-actionformer inspect --config=mine.py                    # is the data as it should be?
    keras-actionformer train --config=mine.py --workdir=runs/mine
    keras-actionformer detect --workdir=runs/mine --feats=new.npy --output=found.json

if the copy is called mine.py. The project's `docs/settings.md` explains every setting, and its
`docs/your-own-data.md` the form of the data. What is not set here keeps its default, and the option
`--config.section.name=value` changes a setting without changing the file.
"""

from keras_actionformer import default_config


def get_config():
    config = default_config()

    # === Data ===
    config.data.annotations = "data/custom/annotations.json"  # yours; JSON or a table
    config.data.feats = "data/custom/feats"  # yours; files <video id>.npy (steps, channels)
    config.data.train_subset = "training"  # yours; what the annotations call them
    config.data.eval_subset = "validation"  # yours
    config.data.val_subset = ""  # yours, if there is a third: it chooses the best epoch
    # Feature i is centred on frame i * stride_frames + window_frames / 2. "Frames" may be samples.
    config.data.fps = 30.0  # yours; None takes the "fps" of each video in the annotations
    config.data.stride_frames = 8.0  # yours; frames from one feature to the next
    config.data.window_frames = 16.0  # yours; frames that a feature has seen
    config.data.crop_ratio = (0.9, 1.0)  # trains on 90 to 100 % of a short video, as augmentation

    # === Model ===
    config.model.input_dim = 1024  # yours; channels of a feature
    config.model.num_classes = 10  # yours
    # Steps of a training window: as many as most videos have. Memory and time grow with it.
    config.model.max_seq_len = 1152
    # Embedding convolutions, blocks at full length, levels of half the length each. The coarsest of
    # 1 + 5 levels has strides of 32 steps, and every level finds actions of its own lengths
    # (regression_range, in steps): `inspect` tells how yours fall onto them.
    config.model.backbone_arch = (2, 2, 5)
    # Less data or weaker features want a smaller network: 128 or 256, and n_head a divisor of it.
    config.model.embd_dim = config.model.fpn_dim = config.model.head_dim = 512
    config.model.n_head = 4
    config.model.n_mha_win_size = 19  # steps that attention sees; odd, -1 sees all
    config.model.init_loss_norm = 100.0  # about the points that a batch of yours has in actions
    # Against overfitting, in the order in which to try them.
    config.model.droppath = 0.1
    config.model.dropout = 0.0
    config.model.input_dropout = 0.0

    # === Training ===
    config.train.batch_size = 2
    config.train.epochs = 30  # after the warm-up
    config.train.warmup_epochs = 5
    config.train.learning_rate = 1e-4  # a small network learns faster with up to 1e-3

    # === Detections ===
    config.postprocess.max_seg_num = 200  # most of a video
    config.postprocess.min_score = 0.001  # keep it low for scoring, and filter what you show
    config.postprocess.nms_sigma = 0.5  # larger keeps more detections that overlap
    config.tiou_thresholds = (0.3, 0.4, 0.5, 0.6, 0.7)
    return config
