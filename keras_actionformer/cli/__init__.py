"""The programs: one verb each, a module of this package, all run from here.

A verb's module defines absl flags and `main()`, and its docstring is its help. It may say in
`GO_ON` which option goes on after it was interrupted, in `MAX_ARGUMENTS` how many words without a
name `main` takes, such as the pattern of `presets "thumos*"`, and in `more_help()` what of its help
depends on the machine.
"""

import importlib
import logging as standard_logging
import math
import os
import signal
import sys

from absl import app, flags, logging

from keras_actionformer import __version__
from keras_actionformer.cli import explain
from keras_actionformer.cli.stopping import Stopped
from keras_actionformer.detection.text_table import table
from keras_actionformer.errors import UserError, suggest
from keras_actionformer.quiet import quiet_start
from keras_actionformer.terminal import clear_line

VERBS = {
    "extract": "compute features of videos, with their timing beside them",
    "init": "write a configuration for your own data, with numbers that come from it",
    "inspect": "report what a data set holds and what is wrong with it",
    "train": "train a model from a configuration file",
    "evaluate": "score a trained model or a file of detections: mAP and recall",
    "report": "write one HTML page about a run: timelines, scores, errors",
    "compare": "compare runs: which differences are real, what one finds and the other misses",
    "detect": "detect actions in feature files with a trained model",
    "detect-archive": "detect in very many files, on one machine or on a cluster, by Apache Beam",
    "draw": "draw detections onto their videos, or cut clips of them",
    "export": "export a trained model to SavedModel, TFLite or ONNX",
    "serve": "serve an exported detector over HTTP, where there is no TensorFlow Serving",
    "convert": "turn a checkpoint of the reference PyTorch implementation into a preset",
    "prepare": "bring a known data set into the form that train reads",
    "presets": "list the built-in presets",
    "summary": "tell how large a model is, what it computes and how far it sees",
    "benchmark": "measure how fast things are on this machine",
    "simulate": "write a small made-up data set to try everything on",
}
_HELP = {"--help", "-help", "-h"}


def main():
    """The console command `keras-actionformer VERB ...`."""
    verb, *rest = sys.argv[1:] or ["help"]
    if verb == "--version":
        print(f"keras-actionformer {__version__}")
        return
    asks = {"help", *_HELP}
    if verb in asks and rest:  # of a verb
        verb, rest = rest[0], ["--help"]
    if verb in asks:
        print(_overview())
        return
    if verb not in VERBS:
        meant = "--version" if verb in ("-v", "-V") else verb
        hint = suggest(meant, [*VERBS, "help", "--version"]) or f"; there are {', '.join(VERBS)}."
        _stop("keras-actionformer", f"There is no verb {verb!r}{hint}")
    sys.argv[:] = [f"{sys.argv[0]} {verb}", *rest]
    run(verb)


def _overview():
    lines = ["Usage: keras-actionformer VERB [--OPTION=VALUE ...]", ""]
    lines += [table([(f"  {name}", purpose) for name, purpose in VERBS.items()], ("<",), gap=" ")]
    lines += ["", "The options of a verb: keras-actionformer help VERB"]
    lines += ["The version: keras-actionformer --version"]
    return "\n".join(lines)


def module_name(verb):
    """The module of a verb."""
    return f"{__name__}.{verb.replace('-', '_')}"


def run(verb):
    """Runs a verb with the arguments in `sys.argv` and ends the process.

    What its user can mend is told in one sentence and gives exit status 2; Ctrl-C gives 130, and
    SIGTERM and SIGHUP, where a verb heeds them, 143 and 129.

    Args:
      verb: str, one of `VERBS`; nothing else is imported.
    """
    # Before TensorFlow is imported: errors only, its other messages would bury ours.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for stream in (sys.stdout, sys.stderr):  # an ASCII terminal must not stop over a label
        stream.reconfigure(errors="backslashreplace")
    logging.get_absl_handler().setFormatter(_Sentence())
    # JAX tells which accelerators it lacks, and each step of joining other processes.
    standard_logging.getLogger("jax").setLevel(standard_logging.WARNING)
    module = importlib.import_module(module_name(verb))
    go_on = explain.how_to_go_on(verb, getattr(module, "GO_ON", None))
    try:
        if _HELP.intersection(sys.argv[1:]):
            print(_help(module))
            if hasattr(module, "more_help"):
                print(module.more_help())
            return
        app.run(lambda argv: module.main(*argv[1:]), flags_parser=lambda argv: _parse(argv, module))
    except UserError as error:
        _stop(verb, error)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and not hasattr(error, "__notes__"):
            _write_nowhere()  # as of `... | head`: who has seen enough is not told of it
            sys.exit(141)  # as of what SIGPIPE ended
        _stop(verb, explain.file_problem(error, go_on))
    except KeyboardInterrupt as stop:
        number = stop.signal if isinstance(stop, Stopped) else signal.SIGINT
        told = "; ".join([*getattr(stop, "__notes__", []), *filter(None, [go_on])])
        by = "Interrupted" if number == signal.SIGINT else f"Ended by {number.name}"
        _stop(verb, f"{by}{told and f': {told}'}.", status=128 + number)


class _Sentence(standard_logging.Formatter):
    """What the library tells or warns of, without the time and the place in the code."""

    def format(self, record):
        told = record.getMessage()
        return told if record.levelname == "INFO" else f"{record.levelname.capitalize()}: {told}"


def _stop(program, message, status=2):
    try:
        clear_line()
        print(f"{program}: {message}", file=sys.stderr, flush=True)
    except OSError:  # the terminal is closed
        _write_nowhere()
    sys.exit(status)


def _write_nowhere():
    """Ends all output; else what is written when Python ends would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def _parse(argv, module):
    """Gives the flags their values; returns what absl hands to a program's main function."""
    options = _options(module)
    argv = explain.find_config_file(argv, options)
    try:
        with quiet_start():  # a configuration file imports Keras
            rest = flags.FLAGS(argv)
    # Not flags.Error alone: a configuration file is a program, and anything may happen in it.
    except Exception as error:
        raise UserError(explain.flags_problem(error, argv, options)) from error
    for name, flag in options.items():
        if isinstance(flag.value, float) and not math.isfinite(flag.value):
            raise UserError(f"--{name}={flag.value} must be a finite number.")
    unknown = rest[1 + getattr(module, "MAX_ARGUMENTS", 0) :]
    if unknown:
        raise UserError(f"Unknown arguments {unknown}; write options as --name=value.")
    return rest


def _options(module):
    """The flags that a verb's module defines, `{name: absl flag}`."""
    return {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module(module)}


def _help(module):
    lines = [module.__doc__.strip(), "\nOptions:"]
    for name, flag in _options(module).items():
        default = "" if flag.default is None else f" Default: {flag.default_as_str}."
        lines.append(f"  --{'[no]' if flag.boolean else ''}{name}: {flag.help}{default}")
    return "\n".join(lines)
