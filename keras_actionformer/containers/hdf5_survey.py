"""Looks through an HDF5 file in a process of its own: `python -m ...hdf5_survey FILE SECONDS`.

HDF5 believes what it parses: a damaged file can end its process by a signal or keep it for ever,
and one made for it fetches numbers from any other file of the reader's. So everything that says
where numbers lie is parsed here first; `hdf5_files.open_hdf5` sees what becomes of it.
"""

import math
import os
import sys

import h5py

from keras_actionformer.containers.claims import check_claim
from keras_actionformer.files import reason_of

REFUSED = 3  # exit status, the reason is printed
_MOST_MEMORY_BYTES = 2**32
# What HDF5 calls the filters that make chunks smaller.
_COMPRESSIONS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_LZF}


def survey(file, num_bytes):
    """Parses where all numbers of a file lie, without reading them.

    Args:
      file: path, or a file that is open for reading bytes.
      num_bytes: int, how large it is.

    Raises:
      ValueError: it has links to other files, takes numbers from them, or claims more than it can
        hold.
      Exception: anything that h5py raises over damaged bytes.
    """
    with h5py.File(file, "r", locking=False) as opened:
        groups, seen = [opened], set()
        while groups:
            group = groups.pop()
            for name in group:
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    raise ValueError(
                        f"its link {name[:80]!r} leads to another file, which is not followed; "
                        "copy what it leads to into this file"
                    )
                if isinstance(link, h5py.SoftLink):  # leads to what is seen elsewhere, if anywhere
                    continue
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:  # groups may hold each other
                    continue
                seen.add(place)
                if isinstance(item, h5py.Group):
                    groups.append(item)
                elif isinstance(item, h5py.Dataset):
                    _check_dataset(name, item, num_bytes)


def _check_dataset(name, stored, num_bytes):
    if stored.external or stored.is_virtual:
        raise ValueError(
            f"its data set {name[:80]!r} takes numbers from other files, which are not read; write "
            "them into this file"
        )
    plan = stored.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if sum(code in _COMPRESSIONS for code in filters) > 1:
        raise ValueError(f"its data set {name[:80]!r} is compressed more than once")
    if stored.shape is None:
        return
    itemsize = stored.id.get_type().get_size()
    check_claim(
        math.prod(map(int, stored.shape)) * itemsize,
        min(stored.id.get_storage_size(), num_bytes),
    )
    if stored.chunks:
        check_claim(math.prod(map(int, stored.chunks)) * itemsize, num_bytes)
        stored.id.chunk_iter(lambda chunk: None)  # parses where each lies


def main(path, limit_sec):
    """Surveys a file; what is wrong with it is printed, and the exit status says so."""
    _limit_resources(int(limit_sec))
    try:
        survey(path, os.path.getsize(path))
    except Exception as error:
        sys.stdout.reconfigure(errors="backslashreplace")
        print(f"{reason_of(error)}{_lock_advice(str(error))}")
        return REFUSED
    return 0


def _lock_advice(text):
    """What to do about a lock or a writer, where HDF5's message is about one; or empty."""
    if "unable to lock file" in text:  # which HDF5 does where the environment says so
        return (
            "; another process has locked it, or its file system has no locks: with "
            "HDF5_USE_FILE_LOCKING=FALSE in the environment it is read without one"
        )
    if "already open for write" in text:
        return (
            "; another program is writing it, so wait for its end, or was killed while it wrote, "
            "which `h5clear -s` mends"
        )
    return ""


def _limit_resources(limit_sec):
    """What takes this process too much memory or too many seconds of a processor ends it."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    for what, limit in (
        (resource.RLIMIT_AS, _MOST_MEMORY_BYTES),
        (resource.RLIMIT_CPU, limit_sec),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (limit, most))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
