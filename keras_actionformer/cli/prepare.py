"""Brings a known data set into the form that this library trains on.

  prepare --dataset=thumos14 --from=thumos.tar.gz --to=data/thumos14
  prepare --dataset=epic100 --from=epic_kitchens --to=data/epic100
  prepare --dataset=hapt --from="HAPT Data Set" --to=data/hapt
  prepare --dataset=sensors --from=new_recordings --to=new_feats --windows=mine_feats

--from names the authors' archive, or a folder that holds what it unpacks to: annotations, features
and, for some, scores of whole videos. Archives are checked against the authors' MD5; features are
linked, not copied, but for those of Ego4D's clips, which are cut out of those of whole videos.
Nothing is downloaded: the first lines of a configuration say where its data is.

Of `sensors`, recordings of your own, only features are written, with the windows that `init` chose
for the training: --windows names the folder of its features.
"""

from absl import flags

from keras_actionformer.datasets.hapt import prepare_hapt
from keras_actionformer.datasets.prepare import prepare_dataset
from keras_actionformer.datasets.published import PUBLISHED
from keras_actionformer.datasets.sensor_windows import load_windows, write_features
from keras_actionformer.datasets.sensors import find_recordings
from keras_actionformer.errors import UserError, counted
from keras_actionformer.terminal import RunningLine

_DATASET = flags.DEFINE_enum(
    "dataset", None, sorted(["hapt", "sensors", *PUBLISHED]), "Which data set.", required=True
)
_FROM = flags.DEFINE_string("from", None, "Folder or file of the original data.", required=True)
_TO = flags.DEFINE_string("to", None, "Folder to write annotations and features to.", required=True)
_STRIDE_FRAMES = flags.DEFINE_integer(
    "stride_frames", None, "HAPT: samples from one feature to the next; default: 25."
)
_DURATIONS = flags.DEFINE_string(
    "durations", None, "CSV file of video,duration,fps, where annotations do not tell them."
)
_WINDOWS = flags.DEFINE_string(
    "windows", None, "Sensors: the folder of features whose windows.json says how windows are cut."
)
_OPTIONS = {"hapt": _STRIDE_FRAMES, "sensors": _WINDOWS}  # others: _DURATIONS


def main():
    dataset = _DATASET.value
    for option in (_DURATIONS, _STRIDE_FRAMES, _WINDOWS):
        if option.value is not None and option is not _OPTIONS.get(dataset, _DURATIONS):
            raise UserError(f"--{option.name} means nothing for --dataset={dataset}.")
    if dataset == "sensors":
        if _WINDOWS.value is None:
            raise UserError("--dataset=sensors needs --windows=DIR, the features of the training.")
        recordings, line = find_recordings(_FROM.value), RunningLine()
        write_features(recordings, load_windows(_WINDOWS.value), _TO.value, line.count)
        print(f"Wrote features of {counted(len(recordings), 'recording')} to '{_TO.value}'.")
    elif dataset == "hapt":
        stride = _STRIDE_FRAMES.value
        options = {} if stride is None else {"stride_frames": stride}
        prepare_hapt(_FROM.value, _TO.value, **options)
    else:
        prepare_dataset(dataset, _FROM.value, _TO.value, durations=_DURATIONS.value)
