"""Annotation files of a test: written, loaded, and told as rows."""

import numpy as np

from keras_actionformer.data.annotation_files import load_annotations, save_annotations


def load_rows(folder, name, content, **arguments):
    """Writes a file and loads it.

    Args:
      folder: `pathlib.Path`.
      name: str, the file.
      content: str or bytes.
      **arguments: those of `load_annotations`; videos without a subset get one.

    Returns:
      (list of (video, start, end in seconds, label); list of str, what was assumed or left out).
    """
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    notes = []
    arguments = {"default_subset": "training", "on_note": notes.append} | arguments
    return rows_of(load_annotations(path, **arguments)), notes


def rows_of(annotations):
    """The actions of `Annotations` as (video, start, end in seconds, label)."""
    return [
        (video.video_id, *segment_sec, annotations.class_names[label])
        for video in annotations.videos
        for segment_sec, label in zip(video.segments_sec.tolist(), video.labels, strict=True)
    ]


def check_saved(annotations, path):
    """What a reader returns must come back from the file that `save_annotations` writes."""
    save_annotations(path, annotations)
    loaded = load_annotations(path, outside="keep")
    assert loaded.class_names == annotations.class_names
    for a, b in zip(loaded.videos, annotations.videos, strict=True):
        for name in ("video_id", "subset", "duration_sec", "fps"):
            assert getattr(a, name) == getattr(b, name)
        np.testing.assert_array_equal(a.segments_sec, b.segments_sec)
        np.testing.assert_array_equal(a.labels, b.labels)
