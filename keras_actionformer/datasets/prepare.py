"""From a published data set, as its authors offer it, to the files that a configuration names.

Nothing is downloaded: whoever has an archive, or the folder it unpacks to, gets annotations in one
checked form, features that are linked rather than copied, and video scores where there are some.
"""

import filecmp
import functools
import hashlib
import os
import pathlib
import platform
import shutil
import tarfile
import zipfile
from typing import NamedTuple

from keras_actionformer.containers.numpy_files import write_npy
from keras_actionformer.data.annotation_files import save_annotations
from keras_actionformer.data.feature_files import checked
from keras_actionformer.data.features import FeatureFiles
from keras_actionformer.data.torch_files import read_tensor
from keras_actionformer.datasets.blocked_videos import read_blocked_videos
from keras_actionformer.datasets.published import PUBLISHED, Features
from keras_actionformer.errors import UserError, counted, suggest
from keras_actionformer.files import atomic_folder, path_inside, write_json

_UNPACKED = "unpacked"


def prepare_dataset(name, source, output_dir, progress=print, durations=None):
    """Writes annotations, features and video scores of a data set as configurations name them.

    Features are linked; those of an archive, which is unpacked into `output_dir`, are moved; those
    of clips are cut out of those of their videos and written. The annotations come last, so that
    where they are, the features are complete. Doing it again gives the same files.

    Args:
      name: str, one of `PUBLISHED`.
      source: str or `os.PathLike`: the authors' archive (a tar file), which is checked against
        their MD5, or a folder that holds what it unpacks to, however deep.
      output_dir: str or `os.PathLike`, created when missing.
      progress: function of one str, told what is done.
      durations: str or `os.PathLike`, CSV file of the columns `video,duration,fps`, for
        annotations that do not tell them.

    Returns:
      dict from the name of an annotation file to its `Annotations`.

    Raises:
      UserError: the archive is damaged, or the files are not those that are expected.
    """
    if name not in PUBLISHED:
        raise UserError(
            f"There is no data set {name!r} among {', '.join(PUBLISHED)}"
            f"{suggest(name, PUBLISHED) or '.'}"
        )
    dataset = PUBLISHED[name]
    source, output_dir = pathlib.Path(source), pathlib.Path(output_dir)
    if not source.exists():
        raise UserError(f"'{source}' does not exist. {dataset.origin}")
    folder, is_new = source, False
    if not source.is_dir():
        folder, is_new = _unpack(dataset, source, output_dir, progress)
    try:
        annotations = _read_annotations(dataset, folder, durations)
        found = _find_features(dataset, folder, output_dir, annotations)
    except UserError:
        # Another archive of this name would be taken for unpacked already.
        if is_new:
            shutil.rmtree(folder)
        raise
    for part in found:
        _place_features(part, folder, output_dir, progress)
    if dataset.video_scores:
        file_name, write = dataset.video_scores
        path = _find(folder, file_name)
        if path is None:
            progress(f"There is no {file_name}: without video scores, no fusion.")
        else:
            write(path, output_dir / "video_scores.json")
            progress(f"Wrote {output_dir / 'video_scores.json'}.")
    used = {name for part in found for name in part.features.annotations}
    annotations = {name: content for name, content in annotations.items() if name in used}
    if dataset.blocked_videos:
        path = _find(folder, dataset.blocked_videos)
        if path is None:
            progress(f"There is no {dataset.blocked_videos}: all videos are scored.")
        else:
            written = output_dir / dataset.blocked_videos
            write_json(written, read_blocked_videos(path), indent=None)
            progress(f"Wrote {written}.")
    for target, content in annotations.items():
        save_annotations(output_dir / target, content)
        progress(f"Wrote {output_dir / target}: {_summary(content)}.")
    return annotations


# === Archives ===


def _unpack(dataset, archive, output_dir, progress):
    """Checks an archive and unpacks it, once; returns (folder, whether it was unpacked now)."""
    folder = output_dir / _UNPACKED / archive.name.split(".tar")[0]
    if folder.exists():
        progress(f"'{folder}' is there already.")
        return folder, False
    if not hasattr(tarfile, "data_filter"):
        raise UserError(
            f"Python {platform.python_version()} would unpack '{archive}' wherever it says: unpack "
            "it yourself and give the folder, or take Python 3.11.4 or newer."
        )
    if archive.name in dataset.archives:
        _check_md5(archive, dataset.archives[archive.name], progress)
    else:
        progress(f"No MD5 is known for '{archive.name}': it is not checked.")
    progress(f"Unpacking '{archive}' to '{folder}' ...")
    try:
        with atomic_folder(folder) as temporary, tarfile.open(archive) as file:
            # Refuses what would end up outside of the folder, and links that lead there.
            file.extractall(temporary, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk, not the archive
            raise
        raise UserError(_why_not_unpacked(dataset, archive, error)) from None
    return folder, True


def _why_not_unpacked(dataset, archive, error):
    if isinstance(error, tarfile.FilterError):
        return (
            f"'{archive}' cannot be unpacked: its entry {error.tarinfo.name!r} leads out of the "
            f"folder or is no plain file; get the authors' archive. {dataset.origin}"
        )
    if zipfile.is_zipfile(archive):
        return f"'{archive}' is a zip file, no tar file; unpack it and give the folder."
    return f"'{archive}' cannot be unpacked ({error}); it must be a tar file. {dataset.origin}"


def _check_md5(path, expected, progress):
    """Raises UserError where a file is not the one that its authors offer."""
    digest, size, done, told = hashlib.md5(usedforsecurity=False), path.stat().st_size, 0, 0
    with open(path, "rb") as file:
        while block := file.read(2**24):
            digest.update(block)
            done += len(block)
            if done - told >= size / 10:
                progress(f"Checking '{path.name}': {100 * done // size} %")
                told = done
    if digest.hexdigest() != expected:
        raise UserError(
            f"The MD5 of '{path}' is {digest.hexdigest()}, but that of the authors' file is "
            f"{expected}: the download is damaged or not complete; get it again."
        )


# === What lies where ===


def _find(folder, *names):
    """The first file or folder of one of these names below a folder, or None."""
    for name in names:
        for path in sorted(folder.rglob(name)):
            return path
    return None


def _read_annotations(dataset, folder, durations):
    """Returns {file to write: `Annotations`} of what there is."""
    annotations = {}
    for target, sources in dataset.annotations.items():
        for name, read in sources.items():
            path = _find(folder, name)
            if path is not None:
                _check_one_version(folder, path)
                annotations[target] = read(path, folder, durations)
                break
    if not annotations:
        names = [name for sources in dataset.annotations.values() for name in sources]
        raise UserError(_lacks(dataset, folder, "annotation file", dict.fromkeys(names)))
    return annotations


def _check_one_version(folder, path):
    """Raises UserError where a folder has another version of an annotation file, too."""
    for other in sorted(folder.rglob(path.name)):
        if not filecmp.cmp(path, other, shallow=False):
            raise UserError(
                f"'{path}' and '{other}' differ, as versions of a data set do; give a folder that "
                "has one of them."
            )


class _Found(NamedTuple):
    """Features that are there.

    Attributes:
      features: `Features`.
      path: `pathlib.Path`, their folder.
      suffix: str, of the files in it.
      of_whole_videos: bool, they are to be cut.
      sources: dict, the id of each annotated video to (the id that its file has, slice of the
        steps in this).
    """

    features: Features
    path: pathlib.Path
    suffix: str
    of_whole_videos: bool
    sources: dict

    def files(self):
        """The `FeatureFiles` of the folder."""
        features, fix = self.features, "get the authors' features"
        return FeatureFiles(self.path, features.channels, features.prefix, self.suffix, fix)

    def has_any(self):
        if not self.path.is_dir():
            return False
        files = self.files()
        return any(files.has(source) for source, _ in self.sources.values())


def _find_features(dataset, folder, output_dir, annotations):
    """Returns a list of `_Found` with annotations for them."""
    found, cuts = [], functools.cache(lambda: dataset.cuts(folder))
    for features in dataset.features:
        content = next((annotations[x] for x in features.annotations if x in annotations), None)
        if content is None:
            continue
        whole = {video.video_id: (video.video_id, slice(None)) for video in content.videos}
        for names, suffix, of_whole_videos in features.places():
            # Folders of other data sets may have this name, too.
            paths = [path for name in names for path in sorted(folder.rglob(name))]
            sources = whole
            if of_whole_videos and paths:
                sources = {id_: cuts()[id_] for id_ in whole if id_ in cuts()}
            parts = [_Found(features, path, suffix, of_whole_videos, sources) for path in paths]
            parts = [part for part in parts if part.has_any()]
            if parts:
                break
        if not parts and output_dir / _UNPACKED in folder.parents:
            # A call that was killed has moved them, and has not yet left a link.
            moved = _Found(features, output_dir / features.target, features.suffix, False, whole)
            parts = [moved] if moved.has_any() else []
        if len(parts) > 1:
            raise UserError(
                f"'{parts[0].path}' and '{parts[1].path}' both have features of {dataset.title}; "
                "give a folder that has one of them."
            )
        found += parts
    if not found:
        names = [x for features in dataset.features for x in features.folders]
        names += [x for features in dataset.features for x in features.whole_videos]
        raise UserError(_lacks(dataset, folder, "folder with features of its videos", names))
    return found


def _lacks(dataset, folder, what, names):
    there = sorted(path.name for path in folder.iterdir())
    return (
        f"'{folder}' has no {what} of {dataset.title}: expected {' or '.join(names)} in it, "
        f"found {', '.join(there[:8]) or 'nothing'}{', ...' * (len(there) > 8)}. {dataset.origin}"
    )


# === Features ===


def _place_features(part, folder, output_dir, progress):
    """Checks features and brings them to their folder."""
    features, path = part.features, part.path
    target = output_dir / features.target
    files = part.files()
    present = {id_: place for id_, place in part.sources.items() if files.has(place[0])}
    files.open(next(iter(present.values()))[0])  # says so when it has another width
    if features.first_channels is not None or part.suffix != features.suffix:
        if target.is_symlink():  # to what an earlier call found
            target.unlink()
        _write_features(features, files, present, target, progress)
        done = f"Wrote {_described(part)} '{path}' to '{target}'"
    elif target.exists() and target.samefile(path):
        done = f"'{target}' is there already"
    elif output_dir / _UNPACKED in folder.parents:
        _make_room(target)
        os.replace(path, target)
        # Where it is found when all this is done again.
        _link(target, path)
        done = f"Moved '{path}' to '{target}'"
    else:
        _make_room(target)
        _link(path, target)
        done = f"Linked '{target}' to '{path}'"
    progress(f"{done}: {len(present)} of {len(part.sources)} videos have features.")


def _described(part):
    if part.of_whole_videos:
        return "the clips cut out of"
    if part.features.first_channels is not None:
        return f"the first {part.features.first_channels} channels of"
    return "all of"


def _write_features(features, files, present, target, progress):
    """Writes features as `.npy`, as `Features` says.

    Args:
      files: `FeatureFiles`, of what is there.
      present: dict, id to (the id that its file has, slice of the steps in this).
      target: `pathlib.Path`, the folder to write to.
    """
    by_source, told = {}, 0
    for id_, (source, steps) in present.items():
        by_source.setdefault(source, []).append((id_, steps))
    for source, parts in by_source.items():  # before time is spent on others
        _check_length(files, source, parts)
    for done, (source, parts) in enumerate(by_source.items(), start=1):
        feats = files.load(source)
        for id_, steps in parts:
            kept = feats[steps, : features.first_channels]
            write_npy(path_inside(target, f"{features.prefix}{id_}.npy"), kept)
        if done - told >= len(by_source) / 10 and len(by_source) > 100:
            progress(f"Writing '{target}': {100 * done // len(by_source)} %")
            told = done


def _check_length(files, source, parts):
    """Raises UserError where features of a whole video, a `.pt`, do not reach to the end of a clip.

    Args:
      files: `FeatureFiles`.
      source: str, the id of the video.
      parts: list of (id of a clip, slice of the steps).
    """
    parts = [part for part in parts if part[1].stop is not None]
    if not parts:
        return
    (path,) = files.paths(source)
    num_steps = len(checked(path, read_tensor(path, only_zeros=True)))
    for id_, steps in parts:
        if steps.stop > num_steps:
            raise UserError(
                f"{files.describe(source)} has {num_steps} steps, but the clip {id_!r} needs those "
                f"up to {steps.stop}; get the file again, or annotations of its version."
            )


def _make_room(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        raise UserError(f"'{target}' is there already and holds other features; remove it.")


def _link(path, link):
    try:
        os.symlink(path.absolute(), link, target_is_directory=True)
    except OSError as error:
        raise UserError(
            f"'{link}' cannot be linked to '{path}' ({error.strerror}); move the folder there."
        ) from None


def _summary(annotations):
    parts = []
    for subset in dict.fromkeys(video.subset for video in annotations.videos):
        videos = annotations.subset(subset)
        actions = sum(len(video.labels) for video in videos)
        parts.append(f"{counted(len(videos), f'{subset} video')} with {counted(actions, 'action')}")
    return f"{', '.join(parts)}, {counted(len(annotations.class_names), 'class')}"
