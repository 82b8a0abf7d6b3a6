"""One sentence for what went wrong with an option, a configuration file or the disk."""

import errno
import pathlib
import re
import shlex
import shutil
import sys
import traceback

import ml_collections
from absl import flags

from keras_actionformer.errors import suggest
from keras_actionformer.training.config import default_config
from keras_actionformer.training.config_files import find_config

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def find_config_file(argv, options):
    """Puts the path of its file in the place of the built-in name that `--config` may give.

    Args:
      argv: list of str, the command line.
      options: dict of the verb's flags by name.

    Returns:
      list of str, the command line.

    Raises:
      UserError: there is no such configuration, which ml_collections would tell much later.
    """
    at, value = _config_value(argv, options)
    if value is None:
        return argv
    name, colon, argument = value.partition(":")  # the argument is one of get_config
    rest = argv[at + (1 if "=" in argv[at] else 2) :]
    return [*argv[:at], f"--config={find_config(name)}{colon}{argument}", *rest]


def flags_problem(error, argv, options):
    """Explains what was raised while absl gave the flags their values.

    Args:
      error: the exception.
      argv: list of str, the command line.
      options: dict of the verb's flags by name.

    Returns:
      str, one sentence.
    """
    _, value = _config_value(argv, options)
    path = None if value is None else pathlib.Path(value.partition(":")[0])
    if isinstance(error, flags.UnrecognizedFlagError):
        if error.flagname.startswith("config.") and "config" in options and path is None:
            return f"--{error.flagname} changes a setting of --config=FILE.py, which is missing."
        for section, settings in default_config().items() if "config" in options else ():
            is_section = isinstance(settings, ml_collections.ConfigDict)
            if is_section and error.flagname in settings:
                name = f"config.{section}.{error.flagname}"
                return f"There is no option --{error.flagname}; did you mean {name!r}?"
        known = [*options, *(name for name in flags.FLAGS if name.startswith("config."))]
        return f"There is no option --{error.flagname}{suggest(error.flagname, known) or '.'}"
    for one in _chain(error):
        frames = traceback.extract_tb(one.__traceback__)
        lines = [frame.lineno for frame in frames if path and pathlib.Path(frame.filename) == path]
        if lines:
            return f"Configuration file '{path}', line {lines[-1]}: {_reason(one)}"
        if isinstance(one, SyntaxError) and one.filename == str(path):
            return f"Configuration file '{path}', line {one.lineno}, is not Python: {one.msg}."
        if "has no attribute 'get_config'" in str(one):
            return f"Configuration file '{path}' has no function get_config()."
    if isinstance(error, flags.Error):
        return _value_problem(str(error), path)
    return _setting_problem(error, argv)


def how_to_go_on(verb, option):
    """How a program that was stopped is called again, as a clause; empty without such an option.

    Args:
      verb: str.
      option: str, which goes on, e.g. `"--resume"`; or None.
    """
    if option is None:
        return ""
    program, *arguments = sys.argv
    path = pathlib.Path(program.removesuffix(f" {verb}"))
    if path.name == "__main__.py":  # python -m keras_actionformer
        words = [sys.executable, "-m", __package__.partition(".")[0], verb]
    else:
        words = [path.name if shutil.which(path.name) else str(path)]
        words += [verb] if program.endswith(f" {verb}") else []
    arguments += [] if option in arguments else [option]
    return f"go on with `{shlex.join([*words, *arguments])}`"


def file_problem(error, go_on):
    """Explains an `OSError`: a full disk, a missing folder, a file that must not be read.

    Args:
      error: `OSError`.
      go_on: str, see `how_to_go_on`.

    Returns:
      str, one sentence.
    """
    name = f"'{error.filename}'" if error.filename else "a file"
    text = " ".join(map(str, error.args))
    # NumPy and HDF5 give no number, only a text.
    if error.errno in _NO_SPACE or re.search("requested and .* written|No space left", text):
        return (
            f"There is no space left on the disk to write {name}; what was finished before is "
            f"intact: free some space and {go_on or 'call the same command again'}."
        )
    kept = getattr(error, "__notes__", [])  # of a training that had begun
    return "; ".join([f"{name}: {error.strerror or text}", *kept, *([go_on] if kept else [])]) + "."


def _config_value(argv, options):
    """Where in the command line `--config` is, and its value; (0, None) where it is not."""
    if "config" in options and options["config"].flag_type() == "config object":
        for i, argument in enumerate(argv):
            name, equals, value = argument.partition("=")
            if name in ("--config", "-config"):
                return i, value if equals else "".join(argv[i + 1 : i + 2])
    return 0, None


def _chain(error):
    """The exception, the one it was raised from, and so on to the first."""
    chain = [error]
    while error := error.__cause__ or error.__context__:
        chain.append(error)
    return chain


def _reason(error):
    """What an exception in a configuration file says, in our words where it is a wrong name."""
    text = str(_chain(error)[-1].args[0]) if isinstance(error, AttributeError) else str(error)
    near = re.search(r'Did you mean "(.+)" instead of "(.+)"', text)
    if near:
        return f"there is no setting {near[2]!r}; did you mean {near[1]!r}?"
    unknown = re.search(r'Key "(.+)" does not exist and cannot be added', text)
    if unknown:
        return (
            f"there is no setting {unknown[1]!r}; keras_actionformer/training/config.py lists them "
            "all."
        )
    text = text.partition(" Other fields present")[0].strip(". \n")
    return f"{type(error).__name__}: {text}."


def _value_problem(text, path):
    """Explains absl's "flag --name=value: reason"."""
    match = re.match(r"flag --([^=]+)=(.*?): (.*)", text, re.DOTALL)
    if not match:
        return f"{text.rstrip('.')}."
    name, value, reason = match.groups()
    if "must have a value other than None" in reason:
        if name == "config" and path is not None:
            return f"get_config() in '{path}' returns nothing; end it with `return config`."
        return f"The option --{name} is missing: {flags.FLAGS[name].help}"
    parser = flags.FLAGS[name].parser
    expected = "true or false" if parser.flag_type() == "bool" else parser.syntactic_help
    return f"--{name}={value}: {f'expected {expected}' if expected else reason.rstrip('.')}."


def _setting_problem(error, argv):
    """Explains why `--config.section.name=value` found no such setting."""
    known = _setting_names()
    for argument in argv:
        match = re.match(r"--?(?:no)?config\.([^=]+)", argument)
        if match and match[1] not in known:
            return f"There is no setting config.{match[1]}{suggest(match[1], known) or '.'}"
    return _reason(error)


def _setting_names():
    names = []
    for section, value in default_config().items():
        is_section = isinstance(value, ml_collections.ConfigDict)
        names += [f"{section}.{name}" for name in value] if is_section else [section]
    return names
