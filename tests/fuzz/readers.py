"""Every reader of files, a sound file for it, and what of its result must be true.

A reader is a function of a path. It returns what the file says, in a form that can be compared, or
raises what the library raises. Where a file has checksums, what is read of a changed one must be
what the sound one says (`is_checked`); where it has none, the reader itself compares the result
with another reader's, or with itself when written and read again.
"""

import csv
import dataclasses
import io
import json
import os
import pathlib
import pickle
import tempfile
from collections.abc import Callable

import h5py
import numpy as np
import openpyxl

from helpers.torch_writer import write_checkpoint, write_old_checkpoint
from keras_actionformer import (
    FeatureFiles,
    load_annotations,
    load_detections,
    read_ego4d,
    read_epic100,
    read_thumos14,
    save_annotations,
    save_detections,
)
from keras_actionformer.cli.classes import read_class_names
from keras_actionformer.containers.hdf5_survey import survey
from keras_actionformer.containers.keras_files import read_keras_config
from keras_actionformer.containers.numpy_files import read_npz
from keras_actionformer.data.feature_files import HDF5_SUFFIXES
from keras_actionformer.datasets.ego4d import cut_clips, read_ego4d_grid
from keras_actionformer.datasets.formats import THUMOS14_CLASSES
from keras_actionformer.datasets.sensors import read_recording
from keras_actionformer.datasets.splits import load_split
from keras_actionformer.evaluation.blocked_videos import load_blocked_videos
from keras_actionformer.evaluation.video_scores import load_video_scores
from keras_actionformer.files import parse_json, told_if_unreadable
from keras_actionformer.presets.folder import read_part
from keras_actionformer.presets.reference import (
    find_checkpoint,
    model_arguments,
    read_parameters,
    read_reference_config,
)
from keras_actionformer.presets.runs import run_scores
from keras_actionformer.training.config import run_config
from keras_actionformer.training.epochs import check_rows

OLD = pathlib.Path(__file__).parents[1] / "older_files"
GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
_FEATS = np.arange(120, dtype=np.float32).reshape(40, 3) / 7


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Args:
      name: str, the file's.
      content: bytes of a sound file.
      read: function of a `pathlib.Path`.
      is_checked: bool, the file has checksums of all that is read.
      may_end_its_process: bool, HDF5 parses it.
    """

    name: str
    content: bytes
    read: Callable
    is_checked: bool = False
    may_end_its_process: bool = False


# === Features ===


def written(name, write):
    """The bytes of a file that `write` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, name)
        write(path)
        return pathlib.Path(path).read_bytes()


def read_features(path):
    if path.suffix in HDF5_SUFFIXES:
        features = FeatureFiles(path)
        return {name: features.load(name) for name in features.video_ids()}
    feats = FeatureFiles(path.parent, suffix=path.suffix).load(path.stem)
    assert feats.ndim == 2 and feats.size and np.isfinite(feats).all()
    if path.suffix == ".npy":
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(feats, np.load(path).astype(np.float32))
    return {path.stem: feats}


def hdf5(libver):
    def write(path):
        with h5py.File(path, "w", libver=libver) as file:
            for i in range(4):
                file[f"v{i}"] = _FEATS + i
            options = {"chunks": (16, 3), "compression": "gzip", "shuffle": True}
            file.create_dataset("deep/packed", data=_FEATS, fletcher32=True, **options)

    return written("a.h5", write)


def hdf5_groups():
    def write(path):
        with h5py.File(path, "w") as file:
            for i in range(3):
                file[f"v_{i}/c3d_features"] = _FEATS + i

    return written("groups.h5", write)


FEATURES = [
    Reader("a.npy", written("a.npy", lambda path: np.save(path, _FEATS)), read_features),
    Reader(
        "columns.npy",
        written("a.npy", lambda path: np.save(path, np.asfortranarray(_FEATS.astype(">f8")))),
        read_features,
    ),
    Reader(
        "a.npz",
        written("a.npz", lambda path: np.savez(path, feats=_FEATS, other=1)),
        read_features,
    ),
    Reader(
        "packed.npz",
        written("a.npz", lambda path: np.savez_compressed(path, feats=_FEATS)),
        read_features,
    ),
    Reader("a.h5", hdf5("earliest"), read_features, may_end_its_process=True),
    Reader("groups.h5", hdf5_groups(), read_features, may_end_its_process=True),
    Reader("newest.hdf5", hdf5("latest"), read_features, may_end_its_process=True),
    Reader(
        "a.pt",
        written("a.pt", lambda path: write_checkpoint(path, {"feats": _FEATS})),
        read_features,
    ),
    Reader(
        "a.csv",
        "f0,f1\n0.25,-1e3\n3,0.5\n7.5,2\n".encode(),
        read_features,
    ),
    Reader("a.pkl", pickle.dumps({"feats": _FEATS, "fps": 30.0}, 2), read_features),
    Reader("rows.pkl", pickle.dumps(_FEATS.tolist()), read_features),
    Reader(
        "old.pth",
        written("old.pth", lambda path: write_old_checkpoint(path, {"feats": _FEATS})),
        read_features,
    ),
]

# === Annotations ===

_DATABASE = json.dumps(
    {
        "class_names": ["eat", "rest"],
        "database": {
            "v": {
                "subset": "training",
                "duration": 9.5,
                "fps": 25,
                "annotations": [
                    {"label": "eat", "label_id": 0, "segment": [1, 2.5]},
                    {"label": "rest", "label_id": 1, "segment": [1, 2.5]},
                ],
            },
            "w": {"subset": "test", "annotations": []},
        },
    }
)

_ANNOTATIONS = {
    "database.json": _DATABASE,
    "table.csv": "Video;Verhalten;Start (s);Ende (s);fps\n"
    "v1.mp4;äsen;1,5;2,25;25\nv2;ruhen;1:02.5;63;\n",
    "table.txt": "video\tlabel\tstart (frame)\tduration\tfps\n"
    "v1\teat\t25\t2\t25\nv2\teat\t50\t3\t30\n",
    "boris.tsv": "Observation id\tBehavior\tBehavior type\tTime\tSource\n"
    "a\teat\tSTART\t1.5\tplayer #1:v.mp4\na\teat\tSTOP\t2.5\tplayer #1:v.mp4\n",
    "labels.txt": "1.5\t2.25\tcall\n\\\t440.0\t880.0\n3.0\t4.0\tsong\n",
    "cues.srt": "1\n00:00:01,500 --> 00:00:02,250\neat\n\n2\n00:01:00,000 --> 00:01:01,000\nrun\n",
    "cues.vtt": "WEBVTT\n\nNOTE x\n\na\n00:01.500 --> 01:00:02.250\n<v B>eat &amp; run</v>\n",
    "mice.boris": json.dumps(
        {
            "behaviors_conf": {"0": {"code": "eat", "type": "State event"}},
            "observations": {
                "a": {
                    "file": {"1": ["v.mp4"]},
                    "time offset": 1.0,
                    "events": [[1.5, "", "eat", "", ""], [2.5, "", "eat", "", ""]],
                }
            },
        }
    ),
    "elan.eaf": '<?xml version="1.0"?><ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds">'
    '<MEDIA_DESCRIPTOR MEDIA_URL="file:///v.mp4" TIME_ORIGIN="5"/></HEADER><TIME_ORDER>'
    '<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="9"/>'
    '</TIME_ORDER><TIER TIER_ID="t"><ANNOTATION><ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a" '
    'TIME_SLOT_REF2="b"><ANNOTATION_VALUE>eat</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
    "</ANNOTATION></TIER></ANNOTATION_DOCUMENT>",
    "via.json": json.dumps(
        {
            "project": {},
            "attribute": {"1": {"aname": "a", "type": 2, "options": {"x": "eat"}}},
            "file": {"1": {"fname": "v.mp4"}},
            "view": {"1": {"fid_list": ["1"]}},
            "metadata": {"m": {"vid": "1", "z": [1, 2], "xy": [], "av": {"1": "x"}}},
        }
    ),
    "studio.json": json.dumps(
        [
            {
                "id": 1,
                "data": {"video": "v.mp4", "fps": 25},
                "annotations": [
                    {
                        "result": [
                            {
                                "value": {
                                    "ranges": [{"start": 1, "end": 9}],
                                    "timelinelabels": ["a"],
                                }
                            },
                            {"value": {"start": 1, "end": 2, "timeserieslabels": ["b"]}},
                            {"value": {"start": 1, "end": 2, "labels": ["c"]}},
                        ]
                    }
                ],
            }
        ]
    ),
}
_THUMOS = "video_validation_0000051  67.5  75.9\nvideo_validation_0000051  85.9 90.6\n"
_EPIC = (
    "narration_id,video_id,start_timestamp,stop_timestamp,verb,verb_class,noun,noun_class\n"
    "P01_01_0,P01_01,00:00:00.14,00:00:03.37,open,3,door,3\n"
    "P01_01_1,P01_01,00:00:05.57,00:00:06.33,turn-on,6,light,114\n"
)
_EGO4D = json.dumps(
    {
        "videos": [
            {
                "video_uid": "u",
                "split": "train",
                "clips": [
                    {
                        "clip_uid": "c",
                        "video_start_sec": 0,
                        "video_end_sec": 480.0,
                        "video_start_frame": 0,
                        "video_end_frame": 14400,
                        "annotations": [
                            {
                                "annotator_uid": "a",
                                "labels": [
                                    {
                                        "label": "x",
                                        "primary": True,
                                        "start_time": 1,
                                        "end_time": 2,
                                        "video_start_time": 1,
                                        "video_end_time": 2.5,
                                    }
                                ],
                            }
                        ],
                    }
                ],
            }
        ]
    }
)


def as_written(annotations):
    """What `Annotations` say, in JSON; it must be what is read of it again."""
    for video in annotations.videos:
        assert np.isfinite(video.segments_sec).all() and len(video.labels) < 10**5
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "a.json")
        save_annotations(path, annotations)
        again = load_annotations(path, outside="keep")
        text = path.read_text(encoding="utf-8")
        save_annotations(path, again)
        assert path.read_text(encoding="utf-8") == text
    return text


def read_annotations(path):
    settings = {"default_subset": "t", "on_note": str, "fps": 25.0, "time_unit": "seconds"}
    return as_written(load_annotations(path, outside="keep", **settings))


def read_thumos(path):
    for name in THUMOS14_CLASSES:
        other = path.with_name(f"{name}_val.txt")
        if not other.exists():
            other.write_text(_THUMOS)
    return as_written(read_thumos14(path.parent))


def workbook():
    book = openpyxl.Workbook()
    for row in csv.reader(io.StringIO("video,start,end,label\nv,1.5,2,eat\nw,2,3.25,rest\n")):
        book.active.append([float(c) if c[0].isdigit() else c for c in row])
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


ANNOTATIONS = [
    *(Reader(name, text.encode(), read_annotations) for name, text in _ANNOTATIONS.items()),
    Reader("workbook.xlsx", workbook(), read_annotations),
    Reader(f"{THUMOS14_CLASSES[0]}_val.txt", _THUMOS.encode(), read_thumos),
    Reader(
        "EPIC_100_train.csv", _EPIC.encode(), lambda path: as_written(read_epic100(path, "verb"))
    ),
    Reader(
        "EPIC_100_validation.csv",
        _EPIC.encode(),
        lambda path: as_written(read_epic100(path, "action")),
    ),
    Reader("blocked.json", b'["v", "w"]', lambda path: load_blocked_videos(path, ["v"])),
    Reader("moments_train.json", _EGO4D.encode(), lambda path: as_written(read_ego4d(path))),
    Reader(
        "moments_val.json",
        _EGO4D.encode(),
        lambda path: (as_written(read_ego4d_grid([path])), str(cut_clips([path]))),
    ),
    Reader("split.csv", b"video,subset\nv,training\nw,test\n", load_split),
    Reader("labels.lst", "eat\nr\u00e4st\n".encode(), read_class_names),
    Reader("recording.csv", b"time,x,y\n0,1,2\n0.5,1.5,-2\n1,2,1e3\n", read_recording),
]

# === Results ===

_DETECTIONS_CSV = "video,start_sec,end_sec,label,score\nv,1,2.5,eat,0.5\nw,3,4.5,rest,0.25\n"
_DETECTIONS_JSON = json.dumps(
    {"results": {"v": [{"label": "eat", "score": 0.5, "segment": [1, 2.5]}], "w": []}}
)


def read_detections(path):
    found = load_detections(path)
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".json", ".csv"):
            target = pathlib.Path(folder, f"a{suffix}")
            save_detections(target, found)
            again = load_detections(target)
            kept = {key for key, one in found.items() if len(one) or suffix == ".json"}
            assert again.keys() == kept
            for key in kept:
                assert again[key].to_dicts() == found[key].to_dicts()


def read_scores(path):
    scores = load_video_scores(path)
    assert all(np.isfinite(values).all() for values in scores.values())


def scores_npz(path):
    np.savez(path, video_ids=["v", "w"], scores=np.eye(2), class_names=["a", "b"])


RESULTS = [
    Reader("detections.json", _DETECTIONS_JSON.encode(), read_detections),
    Reader("detections.csv", _DETECTIONS_CSV.encode(), read_detections),
    Reader(
        "scores.json",
        b'{"results": {"v": [0.5, 1], "w": [0, 1]}, "class": ["a", "b"]}',
        read_scores,
    ),
    Reader("scores.csv", b"video,a,b\nv,0.5,1\nw,0,1\n", read_scores),
    Reader("scores.npz", written("a.npz", scores_npz), read_scores),
    Reader("scores.pkl", (GOLDEN / "i_score_fusion" / "ext_scores.pkl").read_bytes(), read_scores),
]

# === Runs, presets, checkpoints ===


def read_checkpoint(path):
    """What `RunWriter.restore` reads, without the model that it needs to compare with."""
    with told_if_unreadable(f"{path} is damaged"):
        saved = read_npz(path)
        check_rows(parse_json(str(saved.pop("log"))))
    return {name: value.tobytes() for name, value in saved.items()}


def read_keras(path):
    with told_if_unreadable(f"{path} is damaged"):
        return read_keras_config(path, "keras_actionformer>ActionFormer")


def read_reference(path):
    parameters = read_parameters(find_checkpoint(path)[0], True)
    return {name: np.asarray(value).tobytes() for name, value in parameters.items()}


def read_survey(path):
    """As `open_hdf5` has it done in another process."""
    with told_if_unreadable(f"{path} is damaged"):
        survey(path, path.stat().st_size)


RUNS = [
    Reader(
        "config.json", (OLD / "run" / "config.json").read_bytes(), lambda p: run_config(p.parent)
    ),
    Reader(
        "evaluation.json",
        (OLD / "run" / "evaluation.json").read_bytes(),
        lambda path: run_scores(path.parent),
    ),
    Reader(
        "checkpoint.npz",
        (OLD / "stopped" / "checkpoint.npz").read_bytes(),
        read_checkpoint,
        is_checked=True,
    ),
    Reader("model.keras", (OLD / "run" / "model.keras").read_bytes(), read_keras, is_checked=True),
    Reader("metadata.json", (OLD / "preset" / "metadata.json").read_bytes(), read_part),
    Reader(
        "epoch_003.pth.tar",
        (GOLDEN / "j_checkpoint" / "epoch_003.pth.tar").read_bytes(),
        read_reference,
        is_checked=True,
    ),
    Reader(
        "config.txt",
        (GOLDEN / "j_checkpoint" / "config.txt").read_bytes(),
        lambda path: model_arguments(read_reference_config(path)),
    ),
    Reader(
        "tiny.yaml",
        (GOLDEN / "j_checkpoint" / "tiny.yaml").read_bytes(),
        lambda path: model_arguments(read_reference_config(path)),
    ),
]

READERS = {reader.name: reader for reader in FEATURES + ANNOTATIONS + RESULTS + RUNS}
