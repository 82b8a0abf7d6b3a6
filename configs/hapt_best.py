"""UCI HAPT as well as twice the training time of `configs/hapt.py` allows.

    bin/prepare --dataset=hapt --from=PATH/RawData --to=data/hapt_stride12 --stride_frames=12
    bin/train --config=configs/hapt_best.py --workdir=runs/hapt_best
"""

from configs import hapt


def get_config():
    config = hapt.get_config()
    return config
