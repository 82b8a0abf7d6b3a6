"""Brings a known data set into the form that this library trains on.

UCI's HAPT, smartphone recordings of activities and postural transitions, from the folder its zip
unpacks to:

  prepare --dataset=hapt --from="HAPT Data Set" --to=data/hapt
"""

from absl import flags

from keras_actionformer.hapt import prepare_hapt

PREPARERS = {"hapt": prepare_hapt}

_DATASET = flags.DEFINE_enum("dataset", None, sorted(PREPARERS), "Which data set.", required=True)
_FROM = flags.DEFINE_string("from", None, "Folder or file of the original data.", required=True)
_TO = flags.DEFINE_string("to", None, "Folder to write annotations and features to.", required=True)
_STRIDE_FRAMES = flags.DEFINE_integer(
    "stride_frames", None, "Frames from one feature to the next; default: the data set's usual."
)


def main():
    options = {} if _STRIDE_FRAMES.value is None else {"stride_frames": _STRIDE_FRAMES.value}
    PREPARERS[_DATASET.value](_FROM.value, _TO.value, **options)
