"""Zip archives: `.npz` files and Keras' `.keras` files.

Of the entries that an archive lists only those are read whose claims can be true: a small archive
may list entries without end, entries within each other, and entries of any size.
"""

import contextlib
import zipfile

from keras_actionformer.containers.claims import check_claim
from keras_actionformer.files import check_is_file

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextlib.contextmanager
def open_zip(path):
    """Opens an archive.

    Args:
      path: str or `os.PathLike`.

    Yields:
      (`zipfile.ZipFile`, dict from name to its `zipfile.ZipInfo`).

    Raises:
      ValueError: an entry is encrypted, compressed in a rare way, there twice, or larger than what
        is stored for it can be.
      Exception: anything that `zipfile` raises over damaged bytes.
    """
    check_is_file(path)
    with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
        num_bytes = file.seek(0, 2)
        entries = {entry.filename: entry for entry in archive.infolist()}
        if len(entries) < len(archive.infolist()):
            raise ValueError("it has two entries of one name")
        for name, entry in entries.items():
            if entry.flag_bits & 1:
                raise ValueError(f"its entry {name[:80]!r} is encrypted")
            if entry.compress_type not in _METHODS:
                raise ValueError(f"its entry {name[:80]!r} is not compressed as NumPy does")
            check_claim(entry.file_size, entry.compress_size)
        check_claim(sum(entry.file_size for entry in entries.values()), num_bytes)
        yield archive, entries


def read_entry(archive, entry):
    """The bytes of an entry, whose checksum is right.

    Args:
      archive, entry: as `open_zip` yields them.
    """
    content = archive.read(entry)
    if len(content) != entry.file_size:
        raise ValueError(f"its entry {entry.filename[:80]!r} is cut short")
    return content
