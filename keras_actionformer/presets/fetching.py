"""Presets and runs at addresses that fsspec opens: fetched to a folder here, and saved from one."""

import contextlib
import pathlib
import posixpath
import tempfile

from keras_actionformer import remote
from keras_actionformer.errors import UserError
from keras_actionformer.files import reason_of, told_if_unreadable
from keras_actionformer.presets.card import CARD, PICTURES
from keras_actionformer.presets.folder import CONFIG, METADATA, WEIGHTS
from keras_actionformer.presets.hub import configs_beside
from keras_actionformer.presets.runs import MODELS

_CHECKPOINTS = (".pth", ".pth.tar")
_OF_RUNS = (".csv", ".json", ".keras")  # and neither the checkpoint nor what TensorBoard reads


@contextlib.contextmanager
def fetched(place, writes_back=False):
    """A preset, a run or a checkpoint as one of this machine, for the time of a block.

    Args:
      place: str or path. What is no address of fsspec's is handed on as it is.
      writes_back: bool, whether what the block writes into the folder is uploaded when it ends.

    Yields:
      `place`, or the `pathlib.Path` of what was fetched.

    Raises:
      UserError: it cannot be read or written, or it is neither of these.
    """
    if not remote.is_address(place) or place.startswith("hf://"):
        yield place
        return
    place = place.rstrip("/")
    is_checkpoint = place.endswith(_CHECKPOINTS)
    folder = remote.parent(place) if is_checkpoint else place
    with told_if_unreadable(f"'{place}' cannot be read"):
        found = remote.names_in(folder)
    if is_checkpoint:
        name = posixpath.basename(place)
        wanted = [name, *configs_beside(name, found)]
    elif METADATA in found or WEIGHTS in found:
        wanted = [name for name in (CONFIG, METADATA, WEIGHTS) if name in found]
    elif MODELS["average"] in found:
        wanted = [name for name in found if name.endswith(_OF_RUNS)]
    else:
        raise UserError(
            f"'{place}' does not exist, or is neither a preset ({METADATA}) nor a training run "
            f"({MODELS['average']}) nor a checkpoint ({', '.join(_CHECKPOINTS)})."
        )
    with contextlib.ExitStack() as stack:
        with told_if_unreadable(f"'{place}' cannot be fetched"):
            local = stack.enter_context(remote.local_copy(folder, wanted))
        before = _states(local)
        yield local / name if is_checkpoint else local
        if writes_back:
            after = _states(local)
            _upload([path for path in after if after[path] != before.get(path)], local, place)


@contextlib.contextmanager
def saved_to(address, name):
    """Yields a folder here for a preset, which is uploaded to an address when the block ends.

    What tells the checksum of the weights comes last: whoever opens the preset meanwhile is told
    that it is not whole.

    Args:
      address: str.
      name: str, of the folder.

    Raises:
      UserError: it cannot be written, or other files are there.
    """
    with told_if_unreadable(f"'{address}' cannot be read"):
        others = set(remote.names_in(address)) - {CONFIG, METADATA, WEIGHTS, CARD, PICTURES}
    if others:
        raise UserError(
            f"'{address}' holds other files, such as {min(others)!r}: choose a new address."
        )
    with tempfile.TemporaryDirectory(prefix="keras_actionformer_") as temporary:
        folder = pathlib.Path(temporary, name)
        yield folder
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        _upload(sorted(paths, key=lambda path: path.name == METADATA), folder, address)


def _states(folder):
    """What a file was like, to tell whether it has changed: {path: its time and size}."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def _upload(paths, folder, address):
    for path in paths:
        target = remote.join(address, path.relative_to(folder).as_posix())
        try:
            remote.upload(path, target)
        except OSError as error:
            raise UserError(f"'{target}' cannot be written: {reason_of(error)}.") from error
