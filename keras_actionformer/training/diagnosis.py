"""Finds what is wrong with a data set before a network is trained on it.

`diagnose` reads everything that a configuration names and lists all it finds. An error is what
would make the training wrong, or its evaluation impossible: `train` stops at the first one, before
the first step, with the same sentence. A warning is worth a look; published data sets have some.
"""

import collections
import dataclasses
import itertools
import zlib

import numpy as np

from keras_actionformer.data.annotations import Video
from keras_actionformer.data.examples import Sequence, as_trained, make_items
from keras_actionformer.data.feature_checks import (
    constant_problem,
    late_problem,
    length_problem,
)
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.errors import UserError, counted
from keras_actionformer.training.annotation_warnings import annotation_warnings, some_names
from keras_actionformer.training.config import architecture_of, check_config
from keras_actionformer.training.experiment import Experiment
from keras_actionformer.training.pyramid import suggest_pyramid
from keras_actionformer.training.statistics import (
    annotation_statistics,
    feature_statistics,
    format_statistics,
    pyramid_statistics,
    pyramid_warnings,
    suggestion_statistics,
)

# As many errors, and as many warnings, are printed; `to_dict` has them all.
_MOST_PRINTED = 20


@dataclasses.dataclass(frozen=True)
class Problem:
    """One sentence about what is wrong.

    Args:
      sentence: str.
      is_error: bool, whether training or evaluation would be wrong; otherwise a warning.
    """

    sentence: str
    is_error: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` has found; `str` makes it a report.

    Args:
      problems: tuple of `Problem`, errors in the order in which a training meets them.
      statistics: nested dict of numbers, see data_statistics.py; what could not be read is absent.
    """

    problems: tuple[Problem, ...]
    statistics: dict

    @property
    def errors(self):
        """Sentences of the problems that are errors, a tuple of str."""
        return tuple(problem.sentence for problem in self.problems if problem.is_error)

    @property
    def warnings(self):
        """Sentences of the other problems, a tuple of str."""
        return tuple(problem.sentence for problem in self.problems if not problem.is_error)

    def to_dict(self):
        """Returns everything as dicts and lists that JSON can hold."""
        return {"errors": list(self.errors), "warnings": list(self.warnings), **self.statistics}

    def __str__(self):
        parts = [
            format_statistics(self.statistics),
            _problem_list("warning", self.warnings),
            _problem_list("error", self.errors),
        ]
        return "\n\n".join(part for part in parts if part)


def _problem_list(name, sentences):
    count = len(sentences)
    if not count:
        return f"No {name}s."
    lines = [f"{counted(count, name)}:"]
    lines += [f"  {i}. {text}" for i, text in enumerate(sentences[:_MOST_PRINTED], start=1)]
    if count > _MOST_PRINTED:
        lines.append(f"  ... and {count - _MOST_PRINTED} more.")
    return "\n".join(lines)


def diagnose(config, data_only=False, progress=None):
    """Checks a data set and the settings it is to be trained with.

    Args:
      config: `ConfigDict`, see `default_config`.
      data_only: bool, True when `config` is about the data alone and says nothing of a model: the
        number of classes and the width of the features are those that are found, and the
        suggested pyramid stands for that of the model.
      progress: function of (int done, int total), called for each feature file, or None.

    Returns:
      `Diagnosis`.
    """
    findings, eval_findings = _Findings(), _Findings()
    if not data_only:
        # What is about a model loads Keras; the data alone is read without.
        from keras_actionformer.training.run_scores import check_scoring
        from keras_actionformer.training.transfer import open_preset

        findings.attempt(check_config, config)
        opened = None if findings.problems else findings.attempt(open_preset, config)
        if opened is None:  # What follows from wrong settings is not worth telling.
            return Diagnosis(findings.problems, {})
        config, source = opened
    experiment = Experiment(config)
    pyramid = None if data_only else architecture_of(config)
    annotations = findings.attempt(
        experiment.read_annotations, findings.add_error, findings.add_warning
    )
    if annotations is None:
        return Diagnosis(findings.problems, {})
    if not data_only and source is not None:
        findings.attempt(experiment.check_encoder, source, annotations.videos)
    all_videos_are_right = not any(problem.is_error for problem in findings.problems)
    features = findings.attempt(lambda: experiment.features)
    train_videos = _videos(annotations, config.data.train_subset, experiment, features, findings)
    eval_videos, val_videos = (), ()
    for subset in dict.fromkeys((config.data.eval_subset, config.data.val_subset)):
        if subset:
            found = _videos(annotations, subset, experiment, features, eval_findings)
            eval_videos = (*eval_videos, *found)
            if subset == config.data.val_subset:
                val_videos = found
    if config.data.eval_subset and not data_only:
        eval_findings.attempt(check_scoring, config)

    train, evaluation = [], []
    if features is not None:
        tick = _ticker(progress, len(train_videos) + len(eval_videos))
        if train_videos and not data_only:
            num_batches = findings.attempt(experiment.count_batches, train_videos)
            findings.attempt(experiment.check_levels, train_videos)
            if num_batches and not findings.problems:
                suspect = experiment.settings_warnings(annotations, train_videos, num_batches)
                for sentence in suspect:
                    findings.add(sentence, is_error=False)
        train = _read(train_videos, features, experiment, findings, tick, train_videos)
        if data_only:
            train = _of_one_width(train, features, findings)
        _check_times(train, findings, check_durations=config.data.check_durations)
        if train and len(train) == len(train_videos):
            findings.attempt(_make_items, train, experiment.lengths)
        evaluation = _read(
            eval_videos, features, experiment, eval_findings, tick, val_videos, is_training=False
        )
        _check_times(evaluation, eval_findings, is_training=False)
    for problem in eval_findings.problems:
        findings.add(problem.sentence, problem.is_error)
    if features is not None:
        _warn_of_copies(train + evaluation, findings)
        if all_videos_are_right:
            _warn_of_orphans(annotations, features, findings)
    for sentence in annotation_warnings(annotations, train_videos, eval_videos):
        findings.add_warning(sentence)

    numbers = _numbers(annotations, train, evaluation, experiment.lengths, pyramid)
    if "features" in numbers:
        numbers["features"]["encoder"] = experiment.encoder(annotations.videos)
    if config.train.class_weights is not None:
        weights = experiment.class_weights(annotations)
        for one, weight in zip(numbers["classes"], weights, strict=True):
            one["weight"] = weight
    for sentence in pyramid_warnings(numbers["pyramid"]) if "pyramid" in numbers else ():
        findings.add_warning(sentence)
    return Diagnosis(findings.problems, numbers)


class _Findings:
    """The problems found so far, each once."""

    def __init__(self):
        self._is_error = {}  # by sentence

    @property
    def problems(self):
        return tuple(Problem(*row) for row in self._is_error.items())

    def add(self, sentence, is_error):
        self._is_error.setdefault(sentence, is_error)

    def add_error(self, error):
        self.add(str(error), is_error=True)

    def add_warning(self, sentence):
        self.add(sentence, is_error=False)

    def attempt(self, function, *args):
        """Returns what a function returns, or None when it raises UserError, which is added."""
        try:
            return function(*args)
        except UserError as error:
            self.add_error(error)
            return None

    def add_if(self, problem, may_be_error=True):
        """Adds what a check has returned: None, or (sentence, is_error)."""
        if problem is not None:
            sentence, is_error = problem
            self.add(sentence, is_error and may_be_error)


# === Features ===


@dataclasses.dataclass(frozen=True, eq=False)
class _VideoFeatures:
    """What is kept of a video's features once they are read.

    Args:
      video: `Video`.
      grid: `FeatureGrid` of the steps in the file, after downsampling.
      num_steps: int, how many these are.
      num_channels: int.
      limits: (lowest, highest) value.
      checksum: int, the same for the same values.
    """

    video: Video
    grid: FeatureGrid
    num_steps: int
    num_channels: int
    limits: tuple[float, float]
    checksum: int


def _videos(annotations, subset, experiment, features, findings):
    """The videos of a subset that are used."""
    videos = findings.attempt(annotations.subset, subset)
    if videos is None or features is None:
        return videos or ()
    present = findings.attempt(experiment.present_videos, videos) or ()
    if 0 < len(present) < len(videos):
        missing = sorted({v.video_id for v in videos} - {v.video_id for v in present})
        findings.add(
            f"{len(missing)} of {len(videos)} videos of the subset {subset!r} have no features "
            f"({some_names(missing)}) and are left out, as data.missing_features says.",
            is_error=False,
        )
    return present


def _ticker(progress, total):
    done = itertools.count(1)
    return lambda: progress is not None and progress(next(done), total)


def _read(videos, features, experiment, findings, tick, kept, is_training=True):
    """Reads the features of videos; returns a `_VideoFeatures` for each that can be read.

    Of the videos `kept` a training keeps them in the type that the configuration names.
    """
    timing, feats_dtype = experiment.timing, experiment.config.data.feats_dtype
    kept = {video.video_id for video in kept if feats_dtype != "float32"}  # which they are
    for video in videos:
        findings.attempt(timing.grid_of, video, 1)
    missing = [video for video in videos if not features.has(video.video_id)]
    for video in missing[:_MOST_PRINTED]:
        findings.attempt(features.load, video.video_id)
    if len(missing) > _MOST_PRINTED:
        findings.add(
            f"{len(missing)} of {len(videos)} videos of the subset {videos[0].subset!r} have no "
            "features.",
            is_error=True,
        )
    unread, sequences = {video.video_id for video in missing}, []
    for video in videos:
        tick()
        if video.video_id in unread:
            continue
        feats = findings.attempt(features.load, video.video_id)
        if feats is None:
            continue
        feats, where = feats[:: timing.downsample_rate], features.describe(video.video_id)
        findings.add_if(constant_problem(video, feats, where), may_be_error=is_training)
        if video.video_id in kept:
            findings.attempt(as_trained, feats, experiment.lengths, feats_dtype, where)
        grid = findings.attempt(timing.grid_of, video, len(feats))
        if grid is not None:
            limits = float(feats.min()), float(feats.max())
            checksum = zlib.crc32(np.ascontiguousarray(feats))
            sequences.append(_VideoFeatures(video, grid, *feats.shape, limits, checksum))
    return sequences


def _of_one_width(sequences, features, findings):
    """Leaves out features of another width than most have, where nobody has said which is right."""
    widths = collections.Counter(sequence.num_channels for sequence in sequences)
    if len(widths) < 2:
        return sequences
    strict = dataclasses.replace(
        features,
        feats_dim=widths.most_common(1)[0][0],
        width_fix="most have that, so take features of one kind",
    )
    return [s for s in sequences if findings.attempt(strict.open, s.video.video_id) is not None]


def _check_times(sequences, findings, is_training=True, check_durations=False):
    """Compares features with durations and actions: a wrong frame rate or unit shows here."""
    columns = (
        [sequence.video for sequence in sequences],
        [sequence.grid for sequence in sequences],
        [sequence.num_steps for sequence in sequences],
    )
    findings.add_if(length_problem(*columns), may_be_error=check_durations)
    findings.add_if(late_problem(*columns), may_be_error=is_training)


def _make_items(sequences, lengths):
    """Takes the last step before batches can be made: is there anything left to learn?"""
    resize_to = lengths.resize_to
    make_items(
        [sequence.video for sequence in sequences],
        [Sequence(s.num_steps, resize_to or s.num_steps, s.num_channels, None) for s in sequences],
        [sequence.grid for sequence in sequences],
        lengths,
    )


def _warn_of_copies(sequences, findings):
    first = {}
    for sequence in sequences:
        video, key = sequence.video, (sequence.checksum, sequence.num_steps)
        other = first.setdefault(key, video)
        if other.video_id != video.video_id:
            findings.add(
                f"{other.video_id!r} ({other.subset}) and {video.video_id!r} ({video.subset}) have "
                "the same features; is one a copy of the other?",
                is_error=False,
            )


def _warn_of_orphans(annotations, features, findings):
    """Feature files without a video are often a sign of other ids or of a wrong file."""
    if features.is_remote:  # whose folders may hold millions of other files
        return
    known = {path for video in annotations.videos for path in features.paths(video.video_id)}
    for folder in sorted({path.parent for path in known}):
        # That of an HDF5 data set is a file.
        files = folder.iterdir() if folder.is_dir() else ()
        orphans = sorted(
            path.name
            for path in set(files) - known
            if path.name.startswith(features.prefix) and path.name.endswith(features.suffix)
        )
        if orphans:
            findings.add(
                f"{len(orphans)} of the feature files in '{folder}' ({some_names(orphans)}) belong "
                "to no video of the annotations.",
                is_error=False,
            )


# === Numbers ===


def _numbers(annotations, train, evaluation, lengths, pyramid):
    """The statistics of a `Diagnosis`, as far as there is something to count."""
    numbers = annotation_statistics(annotations, _durations_sec(annotations, train + evaluation))
    if train:
        # Of few videos none can be spared: the same train and are scored.
        read = {sequence.video.video_id: sequence for sequence in train + evaluation}
        numbers["features"] = feature_statistics(list(read.values()))
    if any(len(sequence.video.labels) for sequence in train):
        sequences = [_on_model_grid(sequence, lengths.resize_to) for sequence in train]
        suggested = suggest_pyramid(sequences)
        numbers["pyramid"] = pyramid_statistics(sequences, pyramid or suggested)
        numbers["suggestion"] = suggestion_statistics(suggested, sequences)
    return numbers


def _durations_sec(annotations, sequences):
    """Seconds of every video, from its features where the annotations do not say."""
    found = {s.video.video_id: s.num_steps * s.grid.step_sec for s in sequences}
    stated = {v.video_id: v.duration_sec for v in annotations.videos if v.duration_sec is not None}
    return {**found, **stated}


def _on_model_grid(sequence, num_steps):
    """The `_VideoFeatures` as the network sees it, resized to `num_steps` if that is not None."""
    if num_steps is None:
        return sequence
    grid = sequence.grid.resize(sequence.num_steps, num_steps)
    return dataclasses.replace(sequence, grid=grid, num_steps=num_steps)
