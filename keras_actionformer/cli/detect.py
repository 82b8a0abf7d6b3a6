"""Detects actions in videos or in feature files with a trained model.

  detect --workdir=runs/mice --videos=cage.mp4,recordings --bouts --output=bouts.csv
  detect --workdir=runs/thumos14 --feats=video.npy
  detect --preset=presets/thumos14 --feats=video.npy --fps=30
  detect --workdir=runs/thumos14 --feats=new/a.npy,new/b.npy --fps=25 --output=found.json
  detect --workdir=runs/thumos14 --feats=new --score_threshold=0.3 --output=found.csv
  detect --workdir=runs/anet --feats=new --video_scores=classifier.json --output=found.json
  detect --workdir=runs/two_streams --feats=new/rgb,new/flow --output=found.json
  detect --export=exports/phone --feats=video.npy
  detect --server=http://localhost:8501/v1/models/thumos14 --feats=new --classes=labels.txt

A feature file holds an array (time steps, channels) of the kind the model was trained on: `.npy`,
`.npz` with the key "feats", `.pt`, `.pth`, `.pkl`, or `.csv` with a row a step (the last two only
where a folder holds no others); a `.h5` or `.hdf5` file holds one a video. For a run on several
streams, --feats names one folder or `.h5` file for each, in which names are as in the run.

The timing of the steps is the model's; --fps tells where the video runs at another frame rate.
Features that `extract` has written tell their own timing, and need no --fps. A model without a
timing of its own (a run with stride_frames=None) needs --duration, which is shared out over the
steps. Where videos differ in these, --table names a CSV file with the columns video, fps and
duration, or one of the last two. A run's sliding windows and downsampling are applied as in its
evaluation.

--videos names video files, folders of them, or a table with a column `video`. Their features are
computed by the encoder, and at the timing, of those that the model was trained on, and kept in the
folder that --feats names, or beside --output: a second call computes none again, and one that was
stopped goes on. --encoder names the encoder where the model does not, or where it needs a file. A
video that cannot be read is told, and costs itself alone; the exit status is then 1.

--watch detects in a video that goes on: a file that another program is writing (.ts, .mkv, .flv),
the address of a stream (rtsp://, http://) or the number of a camera. A detection is written once,
when nothing that comes can change it; how long after its end that is, is told at the beginning. It
follows from how far the model sees and from --longest_sec; --delay_sec tells sooner, what then
looks as if the video ended there. It ends with the video or by Ctrl-C, with everything written.

  detect --workdir=runs/mice --watch=recording.ts --output=found.jsonl

Features, presets and runs may be at an address, s3://bucket/feats, say (extra `remote`). A file may
be longer than memory allows: of a `.npy` or `.h5`, parts are read at a time, and features of more
than 16384 steps run in overlapping tiles that find what one pass would find. --tile_steps sets how
long these are, and so the memory that they take.

--bouts writes what a person would after watching: of each class one bout after the other, by time,
with a table of their counts and seconds. They are what scores as high as the model recommends (a
training with a validation subset finds what to recommend), or --score_threshold; --merge_gaps_sec
joins those that follow each other closely, and --min_length_sec drops short ones.

  detect --workdir=runs/thumos14 --feats=new --bouts --min_length_sec=0.5 --output=bouts.csv

--figure draws what was found over time, stronger bars being surer: of detections those of
--score_threshold or more, or else of what the model recommends.

  detect --workdir=runs/thumos14 --feats=video.npy --figure=found.png

--format=elan, boris, via, label_studio, audacity, srt or vtt writes drafts, to be corrected in the
tool of that name or with subtitles, and what comes of it trains the next model. --output names a
new folder for elan, audacity, srt and vtt, which have a file a video, and a new file for the
others. --media tells where the tool finds the videos; in place of {} comes the id. Of --videos it
is known, but for label_studio. It is best with --bouts, or at least a --score_threshold.

  detect --workdir=runs/mice --feats=new --bouts --format=elan --media=films/{}.mp4 --output=drafts

--format=epic or ego4d writes the file that the challenge takes: the action detection of
EPIC-KITCHENS-100, of actions that --verbs and --nouns find, or Ego4D's Moment Queries.

--ensemble puts runs or presets of the same classes together: at every point the mean of their
scores and segments is taken before anything is chosen. --verbs and --nouns join models of
EPIC-KITCHENS' verbs and nouns to one of actions, called by both ids, as 0,21; either may name
several. These models must have the same pyramid and the same features, and the first one's settings
are taken.

  detect --ensemble=runs/seed_1,runs/seed_2 --feats=new --output=found.json
  detect --verbs=runs/epic_verb --nouns=runs/epic_noun --feats=new --format=epic --output=test.json

Another setting of the post-processing than the model's (or of the fusion, than the run's) is taken
by --config.postprocess.nms_sigma=0.4 and the like, and told; files of the model stay as they are.

--export names what `export` has written: ONNX Runtime or LiteRT run it without TensorFlow, and the
first detection comes in about a second. Its settings are fixed; it has neither tiles nor --watch.

--server asks a model that TensorFlow Serving runs somewhere else: over REST with an address as
above, or over gRPC with grpc://localhost:8500/thumos14 (this needs the extra `grpc`); /versions/N
behind either asks for one version. Such a model gives ids of classes, which --classes names: with
labels.txt of the export or, best, its manifest.json, which also tells the recommended scores and
what features the model wants.
"""

import pathlib

from absl import flags, logging

from keras_actionformer.cli import detecting_models as models
from keras_actionformer.cli.detect_output import check_writable, sum_up
from keras_actionformer.cli.extracting import extract_and_tell
from keras_actionformer.cli.frame_rate import FrameRate
from keras_actionformer.cli.settings import define_settings, given_settings
from keras_actionformer.cli.several import define_several, given_several
from keras_actionformer.cli.videos import check_exist, find_videos, times_of
from keras_actionformer.data.features import UNEQUAL_STREAMS
from keras_actionformer.detection.bouts import count_bouts, save_bout_counts
from keras_actionformer.detection.detections import save_detections
from keras_actionformer.detection.drafts import (
    FORMATS,
    check_draft_ids,
    check_drafts,
    save_drafts,
    takes_paths,
)
from keras_actionformer.detection.submissions import (
    SUBMISSIONS,
    SUPERVISION,
    check_classes,
    check_submission,
    levels_of,
    save_submission,
)
from keras_actionformer.errors import UserError, said_of
from keras_actionformer.evaluation.fusion import fuse_videos
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.files import path_inside
from keras_actionformer.report.figures import check_picture
from keras_actionformer.report.timeline import plot_timeline
from keras_actionformer.terminal import RunningLine
from keras_actionformer.video.finding import find_video_files
from keras_actionformer.video.model_encoder import encoder_of

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a training run.")
_PRESET = flags.DEFINE_string(
    "preset", None, "Instead: a preset (name, folder or hf://...), or a reference checkpoint."
)
_EXPORT = flags.DEFINE_string("export", None, "Instead: the folder of an exported model.")
_SEVERAL = define_several()
_SERVER = flags.DEFINE_string(
    "server", None, "Instead: the address of a model that TensorFlow Serving runs."
)
_CLASSES = flags.DEFINE_string(
    "classes",
    None,
    "For --server: labels.txt (a class name a line) or manifest.json of the export.",
)
_TIMEOUT = flags.DEFINE_float(
    "timeout", None, "For --server: seconds to wait for each answer; 60 by default."
)
_FEATS = flags.DEFINE_list(
    "feats",
    None,
    "Feature files, or folders of them, with commas between; of several streams, one folder each. "
    "With --videos: the folder that keeps their features.",
)
_UNEQUAL_STREAMS = flags.DEFINE_enum(
    "unequal_streams", None, UNEQUAL_STREAMS, "Streams of other lengths; default: as in the run."
)
_VIDEOS = flags.DEFINE_list(
    "videos", None, "Instead: videos, folders of them or tables that name them."
)
_WATCH = flags.DEFINE_string(
    "watch", None, "Instead: a video that goes on: a growing file, an address or a camera's number."
)
_ENCODER = flags.DEFINE_string(
    "encoder", None, "For --videos and --watch: what computes features, as extract has it."
)
_WORKERS = flags.DEFINE_integer("workers", 1, "For --videos: how many at once.", lower_bound=1)
_FPS = flags.DEFINE(FrameRate(), "fps", None, "Frames a second, where it is not the model's.")
_DURATION = flags.DEFINE_float("duration", None, "Seconds; detections are cut to end by then.")
_TABLE = flags.DEFINE_string(
    "table", None, "CSV file of the videos with their fps, their duration in seconds, or both."
)
_ANY_ENCODER = flags.DEFINE_bool(
    "any_encoder", False, "Takes features of another encoder than the model was trained on."
)
_VIDEO_SCORES = flags.DEFINE_string(
    "video_scores", None, "File of the class scores of whole videos, for a model of one class."
)
_TILE_STEPS = flags.DEFINE_integer(
    "tile_steps", None, "Longer features run in tiles of so many steps; 16384 by default."
)
_LONGEST_SEC = flags.DEFINE_float(
    "longest_sec", None, "For --watch: no action is longer; by default, as the model's levels say."
)
_DELAY_SEC = flags.DEFINE_float(
    "delay_sec", None, "For --watch: from the end of an action until it is told, if sooner."
)
_EVERY_SEC = flags.DEFINE_float("every_sec", 2.0, "For --watch: from one look to the next.")
_QUIET_SEC = flags.DEFINE_float(
    "quiet_sec", 10.0, "For --watch: without anything new for so long, it has ended."
)
_SETTINGS = define_settings()
_OUTPUT = flags.DEFINE_string(
    "output", None, "JSON or CSV file to write the detections to; or what --format needs."
)
_FORMAT = flags.DEFINE_enum(
    "format",
    None,
    ["json", "csv", *FORMATS, *SUBMISSIONS],
    "What --output becomes; json or csv by its name, drafts for a labelling tool, or a submission.",
)
_SUPERVISION = flags.DEFINE_list(
    "supervision",
    None,
    "For --format=epic: the levels of pre-training, training labels and training data, 0 to 5; "
    f"{','.join(map(str, SUPERVISION))} by default.",
)
_MEDIA = flags.DEFINE_string(
    "media", None, "Where that tool finds the videos, with {} for their ids: films/{}.mp4."
)
_FIGURE = flags.DEFINE_string("figure", None, "PNG, SVG or PDF file to draw them in (extra plot).")
_TOP_K = flags.DEFINE_integer(
    "top_k", None, "Keeps so many of the best detections of each file.", lower_bound=1
)
_SCORE_THRESHOLD = flags.DEFINE_float(
    "score_threshold", None, "Drops detections with a lower score."
)
_BOUTS = flags.DEFINE_bool("bouts", False, "Finds bouts: of each class one after the other.")
_MERGE_GAPS = flags.DEFINE_float(
    "merge_gaps_sec", 0.0, "For --bouts: joins those with fewer seconds between.", lower_bound=0
)
_MIN_LENGTH = flags.DEFINE_float(
    "min_length_sec", 0.0, "For --bouts: drops those of fewer seconds.", lower_bound=0
)
_SUMMARY = flags.DEFINE_string(
    "summary", None, "For --bouts: CSV file of counts and seconds of each class in each video."
)


def main():
    _check_options()  # before Keras is loaded and anything is computed
    video_scores = _VIDEO_SCORES.value and load_video_scores(_VIDEO_SCORES.value)
    model = _model()
    if _FORMAT.value in SUBMISSIONS:
        check_classes(_FORMAT.value, model.class_names)
    threshold = _SCORE_THRESHOLD.value
    recommended = None if video_scores else model.thresholds  # fused scores are other ones
    if threshold is None and (_BOUTS.value or _WATCH.value):
        threshold = recommended
        if threshold is None:
            raise UserError(
                f"--{'bouts' if _BOUTS.value else 'watch'} needs to know from which score on "
                "detections count, but the model recommends none: give --score_threshold=0.3, say, "
                "or have evaluate --tune_threshold find the best one."
            )
    if _WATCH.value:
        _watch(model, threshold)
        return 0
    files, names, num_failed = {}, _FEATS.value, 0
    if _VIDEOS.value:
        files, names, num_failed = _extracted(model)
        model = model._replace(data=models.NO_DATA)  # which is about the features of the run
    rule = _UNEQUAL_STREAMS.value
    videos = find_videos(names, model.data, model.channels, model.num_streams, rule)
    if _FORMAT.value in FORMATS:
        check_draft_ids(videos)
    times = times_of(videos, model, _FPS.value, _DURATION.value, _TABLE.value, _ANY_ENCODER.value)
    for features, name in videos.values():  # a bad file is told before time is spent on others
        if not features.is_remote:  # which would be fetched twice
            features.check(name)
    found, line = {}, RunningLine()
    for video_id, (features, name) in videos.items():
        line.count(len(found), len(videos), "files")
        feats = features.open(name)
        if model.data["downsample_rate"] > 1:  # which reads what is no `.npy`
            feats = feats[:: model.data["downsample_rate"]]
        with said_of(features.describe(name)):
            detections = model.detect(video_id, feats, *times[video_id])
        if video_scores:
            detections = fuse_videos({video_id: detections}, video_scores, **model.fusion)[video_id]
        if _BOUTS.value:
            detections = detections.bouts(threshold, _MERGE_GAPS.value, _MIN_LENGTH.value)
        else:
            detections = detections.filter(min_score=threshold)
        if _TOP_K.value is not None:
            detections = detections.top_k(_TOP_K.value)
        found[video_id] = detections
        line.clear()
        told = detections.describe("bout" if _BOUTS.value else "detection")
        paths = [files[video_id]] if files else features.paths(name)
        print(f"{' and '.join(map(str, paths))}: {told}", flush=True)
    print(sum_up(found, recommended if threshold is None else None, _BOUTS.value))
    if _OUTPUT.value:
        if _FORMAT.value in FORMATS:
            save_drafts(_OUTPUT.value, _FORMAT.value, found, _media(files))
        elif _FORMAT.value in SUBMISSIONS:
            save_submission(_OUTPUT.value, _FORMAT.value, found, _supervision())
        else:
            save_detections(_OUTPUT.value, found)
        print(f"Wrote {_OUTPUT.value}.")
    if _SUMMARY.value:
        save_bout_counts(_SUMMARY.value, count_bouts(found))
        print(f"Wrote {_SUMMARY.value}.")
    if _FIGURE.value:
        min_score = recommended if threshold is None else None  # else they are chosen already
        plot_timeline(found, path=_FIGURE.value, min_score=min_score)
        print(f"Wrote {_FIGURE.value}.")
    return 1 if num_failed else 0


def _model():
    """The `DetectingModel` that the options name."""
    given = given_settings(_SETTINGS), bool(_VIDEO_SCORES.value)
    if _SERVER.value:
        return models.served_model(_SERVER.value, _CLASSES.value, _TIMEOUT.value, *given)
    if _EXPORT.value:
        return models.exported_model(_EXPORT.value, *given)
    several = given_several(_SEVERAL)
    return models.local_model(_WORKDIR.value, _PRESET.value, several, *given, _TILE_STEPS.value)


def _check_options():
    single = [flag.value for flag in (_WORKDIR, _PRESET, _EXPORT, _SERVER)]
    if list(map(bool, [*single, given_several(_SEVERAL)])).count(True) != 1:
        raise UserError(
            "Give either --workdir=DIR, --preset=NAME, --export=DIR or --server=URL. (Several "
            "models are put together by --ensemble=DIR,DIR, or --verbs=DIR and --nouns=DIR.)"
        )
    if not _SERVER.value and (_CLASSES.value is not None or _TIMEOUT.value is not None):
        raise UserError(
            "--classes and --timeout are for --server; another model has its own class names."
        )
    if (_SERVER.value or _EXPORT.value) and _TILE_STEPS.value is not None:
        raise UserError("--tile_steps is for a run or a preset, not for an --export or a --server.")
    _check_format()
    if _SUMMARY.value and not _SUMMARY.value.lower().endswith(".csv"):
        raise UserError(f"--summary={_SUMMARY.value} must end in .csv.")
    check_writable(_SUMMARY)
    if _FIGURE.value:
        check_picture(_FIGURE.value, "--figure")
        check_writable(_FIGURE)
    if _BOUTS.value and _TOP_K.value is not None:
        raise UserError("--top_k is for detections, not for --bouts: leave it out.")
    for flag in (_MERGE_GAPS, _MIN_LENGTH, _SUMMARY):
        if flag.value and not _BOUTS.value:
            raise UserError(f"--{flag.name} is for --bouts: give that, too.")
    if _TABLE.value and (_FPS.value is not None or _DURATION.value is not None):
        raise UserError("Give either --table, or --fps and --duration.")
    _check_source()


def _check_source():
    """Raises UserError where it is not clear what to detect in."""
    if _WATCH.value:
        _check_watch()
        return
    if not _VIDEOS.value:
        if _FEATS.value is None:
            raise UserError(
                "Give --videos=FILES of videos, or --feats=FILES of features, or --watch=SOURCE."
            )
        if _ENCODER.value:
            raise UserError("--encoder is for --videos: features are there already.")
        check_exist(_FEATS.value)
        return
    if _SERVER.value:
        raise UserError(
            "--videos is for a model that runs here, which tells what computed its features: "
            "extract them, and give --server the --feats."
        )
    for flag in (_FPS, _DURATION, _TABLE):
        if flag.value is not None:
            raise UserError(f"--{flag.name} is for --feats: videos tell their times themselves.")
    if _FEATS.value and len(_FEATS.value) > 1:
        raise UserError("With --videos, --feats names one folder, which keeps their features.")


def _check_watch():
    """Raises UserError for options that are not for --watch, and for numbers that make no sense."""
    for flag in (
        _EXPORT, _SERVER, _FEATS, _VIDEOS, _FPS, _DURATION, _TABLE, _VIDEO_SCORES, _TILE_STEPS,
        _FORMAT, _FIGURE, _TOP_K, _BOUTS,
    ):  # fmt: skip
        if flag.value:
            raise UserError(f"--{flag.name} is not for --watch: leave it out.")
    for flag in (_LONGEST_SEC, _DELAY_SEC, _EVERY_SEC, _QUIET_SEC):
        if flag.value is not None and not 0 < flag.value < float("inf"):
            raise UserError(f"--{flag.name} must be above 0, but it is {flag.value:g}.")


def _watch(model, threshold):
    from keras_actionformer.cli.watching import watch  # which loads Keras

    if model.has_windows:
        raise UserError(
            "--watch is not for a run whose videos are cut to windows (data.window_steps)."
        )
    encoder, sampling = encoder_of(model, _ENCODER.value, _ANY_ENCODER.value)
    flags_ = (_LONGEST_SEC, _DELAY_SEC, _EVERY_SEC, _QUIET_SEC)
    times = {flag.name: flag.value for flag in flags_}
    watch(_WATCH.value, model.network, encoder, sampling, times, threshold, _OUTPUT.value)


def _extracted(model):
    """Extracts the features of --videos.

    Returns:
      (dict of video id to the video's path; list of str, the files of features; int, how many
      videos have none).
    """
    videos = find_video_files(_VIDEOS.value, logging.warning)
    encoder, sampling = encoder_of(model, _ENCODER.value, _ANY_ENCODER.value)
    if _FEATS.value:
        folder = pathlib.Path(_FEATS.value[0])
    elif _OUTPUT.value:
        output = pathlib.Path(_OUTPUT.value)
        folder = output.with_name(f"{output.stem}_feats")
    else:
        folder = pathlib.Path("detect_feats")
    done = extract_and_tell(videos, encoder, sampling, folder, _WORKERS.value)
    videos = {name: path for name, path in videos.items() if name not in done.failed}
    if not videos:
        raise UserError("No video is left to detect in, for the reasons above.")
    return videos, [str(path_inside(folder, f"{name}.npy")) for name in videos], len(done.failed)


def _check_format():
    """Raises UserError where --format, --output and --media do not fit each other."""
    if _SUPERVISION.value is not None and _FORMAT.value != "epic":
        raise UserError("--supervision is for --format=epic: leave it out.")
    if _FORMAT.value in (*FORMATS, *SUBMISSIONS) and not _OUTPUT.value:
        raise UserError(f"--format={_FORMAT.value} is of a file: say which in --output, too.")
    if _FORMAT.value in FORMATS:
        check_drafts(_OUTPUT.value, _FORMAT.value, _media({}))
        check_writable(_OUTPUT, FORMATS[_FORMAT.value].is_folder)
        return
    if _FORMAT.value in SUBMISSIONS:
        check_submission(_OUTPUT.value, _FORMAT.value, _supervision())
    if _MEDIA.value is not None:
        raise UserError(f"--media is for a --format of {', '.join(FORMATS)}.")
    suffixes = {None: (".json", ".csv"), "csv": (".csv",)}.get(_FORMAT.value, (".json",))
    drafts = f"; drafts for labelling tools are written by a --format of {', '.join(FORMATS)}"
    if _WATCH.value:
        suffixes, drafts = (".jsonl",), ", a line of JSON for each detection"
    if _OUTPUT.value and not _OUTPUT.value.lower().endswith(suffixes):
        raise UserError(f"--output={_OUTPUT.value} must end in {' or '.join(suffixes)}{drafts}.")
    check_writable(_OUTPUT)


def _supervision():
    """The levels that --supervision tells, or those of the challenge's baseline."""
    return SUPERVISION if _SUPERVISION.value is None else levels_of(_SUPERVISION.value)


def _media(files):
    """What --media says; or else the paths of --videos (a dict by their ids), if --format takes
    such."""
    takes_files = _MEDIA.value is None and _VIDEOS.value and takes_paths(_FORMAT.value)
    return files if takes_files else _MEDIA.value
