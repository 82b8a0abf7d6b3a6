"""Which Python the programs of this folder run with: this one, or that of the folder `.venv`.

Written for any Python 3, so that an unsuitable one gets a sentence and not a syntax error.
"""

import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
NEEDED = ("absl", "keras", "ml_collections", "numpy", "tensorflow")
VERSIONS = ((3, 11), (3, 12), (3, 13))


def run(verb):
    """Runs a program of this checkout, e.g. `train`, with the arguments of the command line."""
    if not all(importlib.util.find_spec(name) for name in NEEDED):
        python = interpreter()
        if not python.exists() or pathlib.Path(sys.prefix).resolve() == VENV:
            stop(
                "%s lacks Keras or TensorFlow; run bin/demo once, which installs them into %s, "
                "or `pip install %s`." % (sys.executable, VENV, ROOT)
            )
        _become([str(python), *sys.argv])
    sys.path.insert(0, str(ROOT))
    from keras_actionformer import cli

    cli.run(verb)


def install(extra=""):
    """Makes `.venv` with this package and what it needs; quick when that has been done.

    Args:
      extra: name of a group of optional packages in setup.py.

    Returns:
      Path of the interpreter in `.venv`.
    """
    package = "%s[%s]" % (ROOT, extra) if extra else str(ROOT)
    # What an installation depends on; a folder that was moved needs a new one, too.
    parts = [(ROOT / name).read_bytes() for name in ("setup.py", "pyproject.toml")]
    state = hashlib.sha256(b"\n".join([package.encode(), *parts])).hexdigest()
    stamp = VENV / ("installed-%s" % (extra or "package"))
    if stamp.exists() and stamp.read_text() == state and interpreter().exists():
        return interpreter()
    print("Installing into %s (about 2 GB with TensorFlow; only once) ..." % VENV, flush=True)
    _call(
        [_suitable_python(), "-m", "venv", str(VENV)],
        "On Debian and Ubuntu, install python3-venv first.",
    )
    pip = [str(interpreter()), "-m", "pip", "--disable-pip-version-check"]
    _call(
        [*pip, "install", "--quiet", "--editable", package],
        "Is there a connection to the package index, and room on the disk?",
    )
    stamp.write_text(state)
    return interpreter()


def stop(message):
    """Ends the program with one sentence and the status of wrong use."""
    print("%s: %s" % (pathlib.Path(sys.argv[0]).name, message), file=sys.stderr)
    sys.exit(2)


def interpreter():
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _suitable_python():
    if sys.version_info[:2] in VERSIONS:
        return sys.executable
    for version in reversed(VERSIONS):
        python = shutil.which("python%d.%d" % version)
        # What is found may be a mere placeholder that says how to install it.
        if python and not subprocess.call([python, "-c", ""], stderr=subprocess.DEVNULL):
            return python
    return stop("Python 3.11 to 3.13 is needed, but this is %s." % sys.version.split()[0])


def _call(command, advice):
    status = subprocess.call(command)
    if status:
        stop("`%s` failed. %s" % (" ".join(command), advice))


def _become(command):
    """Goes on as another program, in the same process where the system can do that."""
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)
