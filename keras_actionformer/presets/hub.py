"""Presets and checkpoints on the Hugging Face hub: only what one model needs is downloaded."""

import pathlib

from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra
from keras_actionformer.presets.folder import CONFIG, METADATA, WEIGHTS
from keras_actionformer.presets.reference import choose_checkpoint

_PRESET = [CONFIG, METADATA, WEIGHTS]
_CONFIGS = (".yaml", ".yml", ".py", "config.txt", "log.json")  # what such files' names end with


def download(address):
    """Gets a preset, or a checkpoint and its configuration, from the hub or from its cache.

    Args:
      address: str, `hf://ORGANIZATION/NAME`, with `@REVISION` or without.

    Returns:
      `pathlib.Path` of the preset's folder, or of the checkpoint.

    Raises:
      UserError: the extra is missing, nothing can be downloaded, or there is nothing to open.
    """
    hub = import_extra("huggingface_hub", "huggingface_hub", "hub", address)
    name, _, revision = address.removeprefix("hf://").partition("@")
    place = {"repo_id": name, "revision": revision or None}
    # Its errors have many classes: no network, no such name, a private one, a full disk.
    try:
        files, offline = hub.list_repo_files(**place), {}
    except Exception as error:
        files, offline, reason = None, {"local_files_only": True}, error
    checkpoint = None
    if files is not None and METADATA not in files:
        checkpoint = choose_checkpoint(files)
        if checkpoint is None:
            raise UserError(
                f"{address} holds neither a preset ({METADATA}) nor one checkpoint of the "
                "reference or of OpenTAD (*.pth.tar, *.pth): download what you need, and open that."
            )
    wanted = _PRESET if checkpoint is None else [checkpoint, *configs_beside(checkpoint, files)]
    try:
        folder = hub.snapshot_download(**place, allow_patterns=wanted, **offline)
    except Exception as error:
        error = reason if files is None else error
        told = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{address} cannot be downloaded: {told}") from error
    folder = pathlib.Path(folder)
    if files is None and not (folder / METADATA).exists():  # without a network, from the cache
        cached = [path.relative_to(folder).as_posix() for path in folder.rglob("*.pth*")]
        checkpoint = choose_checkpoint(cached)
    return folder if checkpoint is None else folder / checkpoint


def configs_beside(checkpoint, files):
    """Of the names of files those that may tell the settings of a checkpoint in their folder."""
    folder = pathlib.PurePosixPath(checkpoint).parent
    beside = [file for file in files if pathlib.PurePosixPath(file).parent == folder]
    return [file for file in beside if file.endswith(_CONFIGS)]
