"""EPIC-KITCHENS-100, 293 nouns; all else is as in `configs/epic_slowfast_verb_opentad.py`.

OpenTAD's classes are those of the 300 nouns that occur: the annotations are its
epic_kitchens_noun.json (tools/prepare_data/epic of github.com/sming256/OpenTAD links it), to be
laid beside the unpacked features of the reference.

    keras-actionformer prepare --dataset=epic100 --from=FOLDER --to=data/epic100
    keras-actionformer train --config=epic_slowfast_noun_opentad --workdir=runs/epic_noun_opentad

Published by OpenTAD, not measured here: mAP 25.78 24.73 22.83 20.84 17.45 at tIoU 0.1 to 0.5, 22.33
on average.
"""

import pathlib

from keras_actionformer import load_config


def get_config():
    base = pathlib.Path(__file__).with_name("epic_slowfast_verb_opentad.py")
    config = load_config(base, target="noun")
    config.data.annotations = "data/epic100/annotations_noun_293.json"
    return config
