"""Brings a known data set into the form that this library trains on.

UCI's HAPT, smartphone recordings of activities and postural transitions, from the folder its zip
unpacks to:

  prepare --dataset=hapt --from="HAPT Data Set" --to=data/hapt
"""

import sys

from absl import app, flags

from keras_actionformer.errors import UserError
from keras_actionformer.hapt import prepare_hapt

PREPARERS = {"hapt": prepare_hapt}

_DATASET = flags.DEFINE_enum("dataset", None, sorted(PREPARERS), "Which data set.", required=True)
_FROM = flags.DEFINE_string("from", None, "Folder or file of the original data.", required=True)
_TO = flags.DEFINE_string("to", None, "Folder to write annotations and features to.", required=True)


def main(argv):
    try:
        if argv[1:]:
            raise UserError(f"Unknown arguments {argv[1:]}; write options as --name=value.")
        PREPARERS[_DATASET.value](_FROM.value, _TO.value)
    except UserError as error:
        print(f"prepare: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
