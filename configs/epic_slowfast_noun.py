"""EPIC-KITCHENS-100, 300 nouns; all else is as in `configs/epic_slowfast_verb.py`.

    keras-actionformer prepare --dataset=epic100 --from=epic_kitchens.tar.gz --to=data/epic100
    keras-actionformer train --config=epic_slowfast_noun --workdir=runs/epic_slowfast_noun

Published by the authors of the reference, not measured here: mAP 25.21 24.11 22.66 20.47 16.97 at
tIoU 0.1 to 0.5, 21.88 on average.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    return load_config(pathlib.Path(__file__).with_name("epic_slowfast_verb.py"), target="noun")
