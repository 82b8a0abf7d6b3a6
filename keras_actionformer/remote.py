"""Files at addresses such as `s3://bucket/name`, which fsspec reads and writes (extra `remote`).

What is at an address has no folder of this machine, and each look at it costs a request: nothing
is listed or looked for that is not needed. Whatever a file system raises comes as an `OSError`.
"""

import contextlib
import pathlib
import posixpath
import re
import tempfile

from keras_actionformer.errors import UserError
from keras_actionformer.extras import import_extra

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::)")
_WILDCARD = re.compile(r"[*?\[]")
_SILENCE_SEC = 60  # of a web server, after which it is given up


def is_address(name):
    """Whether a name is an address, and no path: `s3://bucket/a.npy`, `simplecache::gs://b`."""
    return isinstance(name, str) and _ADDRESS.match(name) is not None


def join(address, name):
    """The address of what has a name below another one."""
    return f"{address.rstrip('/')}/{name}"


def parent(address):
    """The address of the folder that a file is in."""
    return posixpath.dirname(address)


# === Reading ===


def read(address, start=None, end=None):
    """The bytes of a file, or those from `start` to before `end`.

    Raises:
      OSError: there is no such file, or it cannot be read, or its server gives no parts.
    """
    with _problems(address) as (system, path):
        # By their names: of s3fs' `cat_file` the second argument is another one.
        content = system.cat_file(path, start=start, end=end)
    if start is not None and end is not None and len(content) > end - start:
        raise OSError("its server gives whole files, and no parts of them")
    return content


def size(address):
    """The bytes that a file has; raises OSError as `read`."""
    with _problems(address) as (system, path):
        try:
            found = system.info(path)
        except FileNotFoundError:
            _check_reached(system, path)
            raise
    if found["type"] != "file" or found["size"] is None:
        raise OSError("it is no file, or its server does not tell its size")
    return found["size"]


def exists(address):
    """Whether something is there; raises OSError where that cannot be told."""
    with _problems(address) as (system, path):
        is_there = system.exists(path)
        if not is_there:
            _check_reached(system, path)
        return is_there


def names_in(address):
    """The sorted names of what is in a folder itself, none where there is no such folder."""
    with _problems(address) as (system, path), contextlib.suppress(FileNotFoundError):
        return sorted(posixpath.basename(found.rstrip("/")) for found in system.ls(path, False))
    return []


def find(address):
    """All files below a folder, or those that a pattern with `*`, `**`, `?` or `[...]` fits.

    Returns:
      (str, list of str): the address of the folder that is the same for all, and the sorted names
      of the files from there.
    """
    folder, pattern = split_pattern(address)
    with _problems(folder) as (_, root), _problems(address) as (system, path):
        try:
            found = system.find(path) if pattern is None else system.glob(path, detail=True)
        except FileNotFoundError:
            found = {}
        if not found:
            _check_reached(system, root)
        if pattern is not None:
            found = [name for name, told in found.items() if told["type"] == "file"]
    return folder, sorted(name[len(root.rstrip("/")) :].lstrip("/") for name in found)


def _check_reached(system, path):
    """Raises OSError where a web server did not answer: fsspec calls its files missing then."""
    if "http" not in system.protocol:
        return
    try:
        system.info(path)
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause is not None and getattr(cause, "status", None) not in (404, 410):
            raise OSError(f"{type(cause).__name__}: {cause}") from error


def split_pattern(name):
    """Splits a path or an address with wildcards: (the folder before them, the rest or None)."""
    match = _WILDCARD.search(name)
    if match is None:
        return name, None
    folder = posixpath.dirname(name[: match.start()])
    return folder, name[len(folder) :].lstrip("/")


@contextlib.contextmanager
def local_copy(address, names=None):
    """Fetches a file, or files of a folder, for the time of a block.

    Args:
      address: str.
      names: sequence of str, of the files of the folder that `address` then is; None for one file.

    Yields:
      `pathlib.Path` of the file, or of the folder. A `UserError` of the block that names it names
      the address.
    """
    with tempfile.TemporaryDirectory(prefix="keras_actionformer_") as temporary:
        local = pathlib.Path(temporary, posixpath.basename(address.rstrip("/")))
        with _problems(address) as (system, path):
            if names is None:
                system.get_file(path, str(local))
            for name in names or ():
                local.mkdir(exist_ok=True)
                system.get_file(f"{path.rstrip('/')}/{name}", str(local / name))
        try:
            yield local
        except UserError as error:
            raise UserError(str(error).replace(str(local), address)) from error


# === Writing ===


def write(address, content):
    """Writes bytes as a file: in one step where the file system is an object store.

    Raises:
      OSError: it cannot be written.
    """
    with _writing(address) as (system, path):
        system.pipe_file(path, content)


def upload(local, address):
    """Writes a file of this machine as one at an address; raises OSError as `write`."""
    with _writing(address) as (system, path):
        system.put_file(str(local), path)


@contextlib.contextmanager
def _writing(address):
    with _problems(address) as (system, path):
        with contextlib.suppress(PermissionError):  # of a bucket that is there
            system.makedirs(path.rpartition("/")[0], exist_ok=True)
        yield system, path


def _settings(address):
    """Of a web server: a file may take as long as it likes, as long as something of it comes.

    Otherwise whatever takes five minutes fails, however much of it is there. What the user's
    configuration of fsspec says of such servers stands.
    """
    outer, _, inner = address.rpartition("::")
    protocol = inner.partition("://")[0]
    if protocol not in ("http", "https"):
        return {}
    aiohttp = import_extra("aiohttp", "aiohttp", "remote", f"'{address}'")
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE_SEC, sock_read=_SILENCE_SEC)
    conf = import_extra("fsspec.config", "fsspec", "remote", f"'{address}'").conf
    configured = {**conf.get("http", {}), **conf.get("https", {})}.get("client_kwargs", {})
    settings = {"client_kwargs": {"timeout": timeout, **configured}}
    return {protocol: settings} if outer else settings


@contextlib.contextmanager
def _problems(address):
    """Yields the file system and the path in it; what goes wrong in the block is an `OSError`."""
    what = f"'{address}'"
    core = import_extra("fsspec.core", "fsspec", "remote", what)
    try:
        opened = core.url_to_fs(address, **_settings(address))
    except (ImportError, ValueError) as error:  # such as "Install s3fs to access S3"
        raise UserError(
            f"{what} cannot be opened by fsspec: {str(error).rstrip('.')}; correct the address, or "
            "install what it needs."
        ) from None
    try:
        yield opened
    except TimeoutError as error:  # fsspec's has no words
        raise OSError("its server did not send all of it in time; try again later") from error
    except (OSError, UserError):
        raise
    except Exception as error:  # of many libraries, each with errors of its own
        raise OSError(f"{type(error).__name__}: {error}") from error
