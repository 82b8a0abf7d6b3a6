"""Brings a known data set into the form that this library trains on.

  prepare --dataset=thumos14 --from=thumos.tar.gz --to=data/thumos14
  prepare --dataset=epic100 --from=epic_kitchens --to=data/epic100
  prepare --dataset=hapt --from="HAPT Data Set" --to=data/hapt

--from names the authors' archive, or a folder that holds what it unpacks to: annotations, features
and, for some, scores of whole videos. Archives are checked against the authors' MD5; features are
linked, not copied. Nothing is downloaded: the first lines of a configuration say where its data is.
"""

from absl import flags

from keras_actionformer.datasets.hapt import prepare_hapt
from keras_actionformer.datasets.prepare import prepare_dataset
from keras_actionformer.datasets.published import PUBLISHED
from keras_actionformer.errors import UserError

_DATASET = flags.DEFINE_enum(
    "dataset", None, sorted(["hapt", *PUBLISHED]), "Which data set.", required=True
)
_FROM = flags.DEFINE_string("from", None, "Folder or file of the original data.", required=True)
_TO = flags.DEFINE_string("to", None, "Folder to write annotations and features to.", required=True)
_STRIDE_FRAMES = flags.DEFINE_integer(
    "stride_frames", None, "HAPT: samples from one feature to the next; default: 25."
)
_DURATIONS = flags.DEFINE_string(
    "durations", None, "CSV file of video,duration,fps, where annotations do not tell them."
)


def main():
    is_hapt = _DATASET.value == "hapt"
    other = _DURATIONS if is_hapt else _STRIDE_FRAMES
    if other.value is not None:
        raise UserError(f"--{other.name} means nothing for --dataset={_DATASET.value}.")
    if is_hapt:
        stride = _STRIDE_FRAMES.value
        options = {} if stride is None else {"stride_frames": stride}
        prepare_hapt(_FROM.value, _TO.value, **options)
    else:
        prepare_dataset(_DATASET.value, _FROM.value, _TO.value, durations=_DURATIONS.value)
