"""The published data sets that `prepare` knows: which files they have, and where to get them.

Facts are those of the authors' pages: happyharrycn/actionformer_release for THUMOS14, ActivityNet,
EPIC-KITCHENS-100 and Ego4D; epic-kitchens/C10-epic-sounds-detection for EPIC-SOUNDS;
sming256/OpenTAD for the others and for Ego4D's InternVideo features.
"""

import dataclasses
import typing

import numpy as np

from keras_actionformer.data.annotation_files import json_entries
from keras_actionformer.data.annotations import build_annotations
from keras_actionformer.datasets.ego4d import cut_clips, read_ego4d, read_ego4d_grid
from keras_actionformer.datasets.formats import SUBSETS, read_epic100, read_thumos14
from keras_actionformer.errors import UserError
from keras_actionformer.files import read_json, write_json


@dataclasses.dataclass(frozen=True)
class Features:
    """Features of a data set: where they are found, and where they go.

    Attributes:
      folders: tuple of str, the names that the folder has.
      channels: int, C of a file (T, C).
      annotations: tuple of str, the written annotation files that have its videos, first choice
        first.
      target: str, the name of the folder that configurations name.
      prefix, suffix: str, a file is `<prefix><video id><suffix>`.
      first_channels: int, keep only so many; or None for all.
      whole_videos: tuple of str, the names of folders with features of whole videos, a `.pt` each,
        out of which they are cut (`DataSet.cuts`) where they are not there.
      or_tensors: bool, their files may be `.pt` instead, which are then written as they should be.
    """

    folders: tuple[str, ...]
    channels: int
    annotations: tuple[str, ...] = ("annotations.json",)
    target: str = "feats"
    prefix: str = ""
    suffix: str = ".npy"
    first_channels: int | None = None
    whole_videos: tuple[str, ...] = ()
    or_tensors: bool = False

    def places(self):
        """Where they may be, first choice first: (names of folders, suffix, whether they are of
        whole videos)."""
        places = [(self.folders, self.suffix, False)]
        if self.whole_videos:
            places.append((self.whole_videos, ".pt", True))
        if self.or_tensors:
            places.append((self.folders, ".pt", False))
        return places


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A published data set as its authors offer it.

    Attributes:
      title: str.
      origin: str, a sentence that says where to get it.
      annotations: dict, the file to write to {file to find: function (its path, the folder in
        which it was searched, durations) -> `Annotations`}, first choice first.
      features: tuple of `Features`, of which a user may have only some.
      video_scores: (file to find, function (its path, path to write)), or None.
      archives: dict, the authors' archive to the MD5 they tell.
      cuts: function (the folder that is searched) -> {id of an annotated video: (id of the whole
        video, slice of its steps)}, or None.
      blocked_videos: str, the file of videos that are not scored, which is copied; or None.
    """

    title: str
    origin: str
    annotations: dict[str, dict[str, typing.Callable]]
    features: tuple[Features, ...]
    video_scores: tuple[str, typing.Callable] | None = None
    archives: dict[str, str] = dataclasses.field(default_factory=dict)
    cuts: typing.Callable | None = None
    blocked_videos: str | None = None


# === Annotations ===


def _read_database(path, _folder, durations):
    """Reads a JSON file of ActivityNet's form as published, without what no score counts.

    Those are repeated annotations, ones of under 1 ms, and the label "Ambiguous" (THUMOS14). Where
    a video has a number of frames instead of a frame rate, that gives it.
    """
    _refuse_durations(path, durations)
    entries, class_names = json_entries(path)
    for entry in entries.values():
        subset = entry.get("subset")
        if isinstance(subset, str):
            entry["subset"] = SUBSETS.get(subset, subset)
        frames, duration = entry.get("frame"), entry.get("duration")
        if "fps" not in entry and all(isinstance(x, int | float) and x for x in (frames, duration)):
            entry["fps"] = frames / duration
        actions = entry["annotations"]
        entry["annotations"] = [a for a in actions if a.get("label") != "Ambiguous"]
    return build_annotations(
        f"Annotation file '{path}'", entries, class_names, outside="keep", drop_duplicates=True
    )


def _refuse_durations(path, durations):
    if durations is not None:
        raise UserError(
            f"--durations={durations} is only for annotations that do not tell durations, but "
            f"'{path}' does; leave it out."
        )


def _read_thumos14_texts(path, folder, durations):
    if durations is None:
        raise UserError(
            f"'{path.parent}' has THUMOS14's text files, which do not tell frame rates: give them "
            "as --durations=FILE.csv with the columns video,duration,fps."
        )
    # The text files of the two subsets lie in folders of their own.
    return read_thumos14(folder, durations)


def _read_epic(target):
    """Returns the reader of EPIC's CSV files for verbs, nouns, actions or sounds."""

    def read(path, _folder, durations):
        classes = path.with_name(f"EPIC_100_{target}_classes.csv")
        info = path.with_name("EPIC_100_video_info.csv")
        return read_epic100(
            [path, path.with_name(path.name.replace("train", "validation"))],
            target,
            classes if classes.exists() else None,
            durations or (info if info.exists() else None),
        )

    return read


_MOMENTS = "moments_train.json"


def _read_ego4d(path, _folder, durations):
    _refuse_durations(path, durations)
    return read_ego4d([path, path.with_name("moments_val.json")])


def _read_ego4d_grid(path, _folder, durations):
    _refuse_durations(path, durations)
    return read_ego4d_grid(_all_moments(path))


def _cut_ego4d(folder):
    path = next(iter(sorted(folder.rglob(_MOMENTS))), None)
    return {} if path is None else cut_clips(_all_moments(path))


def _all_moments(path):
    """The moments files beside that of the training; of the test's there need not be one."""
    test = path.with_name("moments_test_unannotated.json")
    return [path, path.with_name("moments_val.json"), *([test] if test.exists() else [])]


# === Video scores ===


def _write_scores(path, target, convert=lambda scores: scores):
    """Writes the video scores of a JSON file in the form of `load_video_scores`."""
    content = read_json(path, "File of video scores")
    try:
        names = content["class"] if "class" in content else content["classes"]
        scores = {id_: convert(values) for id_, values in content["results"].items()}
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"File of video scores '{path}' must hold {{\"results\": {{video id: scores}}, "
            f'"class": [names]}}, but it does not ({error!r}).'
        ) from None
    write_json(target, {"results": scores, "class": names}, indent=None)


def _write_hacs_scores(path, target):
    """The file has logits (1, K) a video, which fusion wants as probabilities."""

    def softmax(logits):
        exp = np.exp(np.asarray(logits[0], np.float64) - np.max(logits[0]))
        return (exp / exp.sum()).tolist()

    _write_scores(path, target, softmax)


# === The data sets ===

_REFERENCE = "The README of github.com/happyharrycn/actionformer_release links"
_OPENTAD = "github.com/sming256/OpenTAD, tools/prepare_data, links"
_I3D = ("i3d_features", "i3d_actionformer_stride4_thumos")
_MULTITHUMOS = {"annotations.json": {"multithumos_anno.json": _read_database}}
_MULTITHUMOS_ORIGIN = f"{_OPENTAD} multithumos_anno.json; the features are those of THUMOS14."

PUBLISHED = {
    "thumos14": DataSet(
        "THUMOS14",
        f"{_REFERENCE} thumos.tar.gz.",
        {
            "annotations.json": {
                "thumos14.json": _read_database,
                "BaseballPitch_val.txt": _read_thumos14_texts,
            }
        },
        (Features(_I3D, 2048),),
        archives={"thumos.tar.gz": "375f76ffbf7447af1035e694971ec9b2"},
    ),
    "activitynet": DataSet(
        "ActivityNet 1.3",
        f"{_REFERENCE} anet_1.3.tar.gz (TSP) and anet_1.3_i3d.tar.gz (I3D); {_OPENTAD} "
        "blocked.json.",
        {
            "annotations_tsp.json": {"anet1.3_tsp_filtered.json": _read_database},
            "annotations_i3d.json": {"anet1.3_i3d_filtered.json": _read_database},
        },
        (
            Features(("tsp_features",), 512, ("annotations_tsp.json",), "feats_tsp", "v_"),
            Features(("i3d_features",), 2048, ("annotations_i3d.json",), "feats_i3d", "v_"),
        ),
        ("cuhk_val_simp_share.json", _write_scores),
        {
            "anet_1.3.tar.gz": "c415f50120b9425ee1ede9ac3ce11203",
            "anet_1.3_i3d.tar.gz": "e649425954e0123401650312dd0d56a7",
        },
        blocked_videos="blocked.json",
    ),
    "epic100": DataSet(
        "EPIC-KITCHENS-100",
        f"{_REFERENCE} epic_kitchens.tar.gz; the CSV files are in "
        "github.com/epic-kitchens/epic-kitchens-100-annotations.",
        {
            f"annotations_{target}.json": {
                f"epic_kitchens_100_{target}.json": _read_database,
                "EPIC_100_train.csv": _read_epic(target),
            }
            for target in ("verb", "noun")
        }
        | {
            "annotations_noun_293.json": {"epic_kitchens_noun.json": _read_database},
            "annotations_action.json": {"EPIC_100_train.csv": _read_epic("action")},
        },
        (
            Features(
                ("features",),
                2304,
                (
                    "annotations_verb.json",
                    "annotations_noun.json",
                    "annotations_noun_293.json",
                    "annotations_action.json",
                ),
                suffix=".npz",
            ),
        ),
        archives={"epic_kitchens.tar.gz": "add9803756afd9a023bc9a9c547e0229"},
    ),
    "epic_sounds": DataSet(
        "EPIC-SOUNDS",
        "github.com/epic-kitchens/epic-sounds-annotations has the annotations, and the README of "
        "github.com/epic-kitchens/C10-epic-sounds-detection links the features.",
        {
            "annotations.json": {
                "epic_sounds.json": _read_database,
                "EPIC_Sounds_train.csv": _read_epic("sound"),
            }
        },
        (Features(("auditory_slowfast_features",), 2304, suffix=".npz"),),
    ),
    "ego4d": DataSet(
        "Ego4D Moment Queries",
        "ego4d-data.org has moments_train.json and moments_val.json and the features of whole "
        "videos, slowfast8x8_r101_k400 and omnivore_video_swinl; github.com/showlab/EgoVLP has "
        "EgoVLP features of the clips (call their folder egovlp_features). "
        f"{_OPENTAD} InternVideo features.",
        {
            # Times on the grid of features that are cut out of those of whole videos, here or by
            # the reference's tools/convert_ego4d_trainval.py (ego4d.json) ...
            "annotations.json": {"ego4d.json": _read_database, _MOMENTS: _read_ego4d_grid},
            # ... and times in the clips, for features computed on these.
            "annotations_clips.json": {
                _MOMENTS: _read_ego4d,
                "ego4d_v2_220429.json": _read_database,
            },
        },
        (
            Features(
                ("slowfast_features",),
                2304,
                target="feats_slowfast",
                whole_videos=("slowfast8x8_r101_k400",),
            ),
            Features(
                ("omnivore_features",),
                1536,
                target="feats_omnivore",
                whole_videos=("omnivore_video_swinl", "omnivore_video_swinl_fp16"),
            ),
            Features(("egovlp_features",), 256, target="feats_egovlp", or_tensors=True),
            *(
                Features(
                    (f"mq_{name}",), channels, ("annotations_clips.json",), f"feats_clips_{name}"
                )
                for name, channels in (("slowfast", 2304), ("egovlp", 256))
            ),
            Features(
                ("videomae_large_internvideo_img256_stride8_len16_interval1_ego4d",),
                1024,
                ("annotations_clips.json",),
                "feats_internvideo",
            ),
        ),
        cuts=_cut_ego4d,
    ),
    "hacs": DataSet(
        "HACS Segments",
        f"{_OPENTAD} annotations, SlowFast features and video scores.",
        {"annotations.json": {"HACS_segments_v1.1.1.json": _read_database}},
        (Features(("slowfast101_15fps_stride8_len32_hacs",), 2304),),
        ("validation94.32.json", _write_hacs_scores),
    ),
    "multithumos": DataSet(
        "MultiTHUMOS", _MULTITHUMOS_ORIGIN, _MULTITHUMOS, (Features(_I3D, 2048),)
    ),
    "multithumos_rgb": DataSet(
        "MultiTHUMOS (RGB)",
        _MULTITHUMOS_ORIGIN,
        _MULTITHUMOS,
        (Features(_I3D, 2048, first_channels=1024),),
    ),
    "charades": DataSet(
        "Charades",
        f"{_OPENTAD} charades.json and the features.",
        {"annotations.json": {"charades.json": _read_database}},
        (
            Features(("i3d_charades_finetuned_stride8",), 1024, target="feats_i3d_rgb"),
            Features(
                (
                    "videomae-large_16x4x1_img224_stride4_len16_interval1_charades_30fps",
                    "videomae-large_16x4x1_img224_stride4_len16_interval1_charades",
                ),
                1024,
                target="feats_videomae_l",
            ),
        ),
    ),
    "fineaction": DataSet(
        "FineAction",
        f"{_OPENTAD} annotations, features and video scores.",
        {"annotations.json": {"annotations_gt.json": _read_database}},
        (
            Features(
                ("intervideo_mae_huge_k700_stride16_len16_fineaction",),
                1280,
                target="feats_videomae_h",
            ),
            Features(("fineaction_mae_g",), 1408, target="feats_videomaev2_g"),
        ),
        ("new_swinB_1x1x256_views2x3_max_label_avg_prob.json", _write_scores),
    ),
}
