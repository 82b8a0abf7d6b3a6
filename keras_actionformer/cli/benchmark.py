"""Measures how fast things are on this machine, and how much memory they take.

  benchmark --what=forward --preset=thumos14_i3d --lengths=256,1024,2304
  benchmark --what=all --json=all.json --plot=all.png
  benchmark --what=data --config=thumos14_i3d
  benchmark --what=start

forward: the network alone, of each length and batch size, and `detect` on 16 sequences of mixed
  lengths in batches.
detect: one sequence through `detect`, call after call, and its parts.
train: one training step on two sequences, of the training length unless --lengths are given.
attention: local attention of the width of THUMOS14, with blocks of several sizes.
nms: decoding and suppression of 12,000 candidates.
data: batches a second of a configuration's training data, from memory and from files.
evaluate: mAP and Recall@kx of a million detections.
long: `detect` on a sequence of 1, 2, 4 and 8 times the training length.
export: one sequence from features to detections, in Keras and in each export format.
start: programs from the start of Python to their end, beside `import tensorflow, keras`.
all: all of these but data and start.

Each figure is the median of several runs, with the least and the most. Where work can be counted,
two primitives of the machine, a matrix product and a convolution, run beside each run. Every case
runs in a process of its own. Weights do not matter: a built-in preset without any gets random ones.
The backend is Keras': KERAS_BACKEND=jax measures on JAX.
"""

import itertools
import pathlib

from absl import flags, logging
from ml_collections import config_flags

from keras_actionformer.benchmark.measurements import HEADER, NOTES, plot
from keras_actionformer.benchmark.process import measure_alone
from keras_actionformer.benchmark.starts import benchmark_start
from keras_actionformer.errors import UserError
from keras_actionformer.files import write_json
from keras_actionformer.quiet import import_keras
from keras_actionformer.report.figures import check_picture

_ALL = ("forward", "detect", "train", "attention", "nms", "evaluate", "long", "export")
_OF_A_MODEL = ("forward", "detect", "train", "long", "export")  # what has lengths, too
_WHAT = flags.DEFINE_enum("what", "forward", [*_ALL, "data", "start", "all"], "What to measure.")
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="For --what=data: configuration, file or built-in name; "
    "--config.section.name=value changes one of its settings.",
)
_PRESET = flags.DEFINE_string("preset", "thumos14_i3d", "A preset: name, folder or hf://...")
_LENGTHS = flags.DEFINE_list(
    "lengths", None, "Steps of the sequences; 256,1024,2304 if not given, but for --what=train."
)
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "For --what=forward: sequences at once.")
_RECOMPUTE = flags.DEFINE_bool(
    "recompute", False, "For --what=train: keep less for the gradient and compute it again."
)
_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", ["float32", "bfloat16"], "Type that networks compute in."
)
_RUNS = flags.DEFINE_integer("runs", 7, "Runs of each measurement.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "JSON file to write all values to.")
_PLOT = flags.DEFINE_string(
    "plot", None, "Image of cost against length (.png, .svg or .pdf; extra `plot`)."
)


def main():
    lengths = None if _LENGTHS.value is None else _whole_numbers("lengths", _LENGTHS.value)
    batch_sizes = _whole_numbers("batch_sizes", _BATCH_SIZES.value)
    config = _checked_config() if _WHAT.value == "data" else None
    logging.set_verbosity(logging.WARNING)
    _check_files()
    kinds = _ALL if _WHAT.value == "all" else (_WHAT.value,)
    # Opens the preset, too: an error in its name is told before anything is measured.
    preset = _PRESET.value if set(kinds) & set(_OF_A_MODEL) else None
    machine, measurements, problem = _measure("machine", preset=preset)
    if problem:
        raise UserError(problem)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(HEADER)
    _print(measurements)
    problems = []
    for kind in kinds:
        if kind in ("data", "start"):
            found = _data(config) if kind == "data" else benchmark_start(_RUNS.value)
            measurements += _printed(found)
            continue
        for case in _cases(kind, machine["modes"].split("/"), lengths, batch_sizes):
            _, found, problem = _measure(**case)
            _print(found)
            measurements += found
            if problem:
                problems.append(f"{kind}: {problem}")
    print(NOTES)
    if _JSON.value:
        rows = [measurement.to_dict() for measurement in measurements]
        write_json(_JSON.value, {"machine": machine, "measurements": rows})
    if _PLOT.value:
        plot(measurements, _PLOT.value)
    if problems:
        raise UserError("Not measured: " + " ".join(problems))


def _cases(kind, modes, lengths, batch_sizes):
    """Arguments of `_measure`, a process each; `lengths` may be None."""
    model = {"preset": _PRESET.value}
    training_lengths, lengths = lengths or (None,), lengths or (256, 1024, 2304)
    if kind == "forward":
        for mode, batch_size, length in itertools.product(modes, batch_sizes, lengths):
            options = {"modes": [mode], "batch_sizes": [batch_size], "lengths": [length]}
            yield {"what": "forward", **model, "options": options}
        for mode in modes:
            yield {"what": "mixed", **model, "options": {"modes": [mode]}}
    elif kind == "train":
        for mode, length in itertools.product(modes, training_lengths):
            options = {"modes": [mode], "length": length, "recompute": _RECOMPUTE.value}
            yield {"what": "train", **model, "options": options}
    elif kind == "attention":
        for heads, mode in itertools.product((4, 16), modes):
            yield {"what": "attention", "options": {"num_heads": [heads], "modes": [mode]}}
    elif kind == "nms":
        for multiclass, mode in itertools.product((True, False), modes):
            yield {"what": "nms", "options": {"multiclass": [multiclass], "modes": [mode]}}
    elif kind == "long":
        for factor in (1, 2, 4, 8):
            yield {"what": "long", **model, "options": {"factors": [factor]}}
    elif kind in ("detect", "export"):
        yield {"what": kind, **model, "options": {"lengths": lengths}}
    else:
        yield {"what": kind}


def _measure(what, **case):
    return measure_alone(what, dtype=_DTYPE.value, num_runs=_RUNS.value, **case)


def _data(config):
    """Here and not alone: the configuration is a program, and its memory is the features'."""
    from keras_actionformer.benchmark.cases import benchmark_data

    return benchmark_data(config, _RUNS.value)


def _printed(measurements):
    """Prints each as soon as it is known; returns them in a list."""
    found = []
    for measurement in measurements:
        _print([measurement])
        found.append(measurement)
    return found


def _print(measurements):
    for measurement in measurements:
        print(measurement, flush=True)


def _check_files():
    """Raises UserError now and not after all was measured."""
    for path in filter(None, (_JSON.value, _PLOT.value)):
        if pathlib.Path(path).is_dir():
            raise UserError(f"'{path}' is a folder: name a file to write.")
    if _PLOT.value is None:
        return
    if _WHAT.value not in (*_OF_A_MODEL, "all"):
        raise UserError(
            f"--plot draws cost against length, and --what={_WHAT.value} has no lengths: choose "
            f"one of {', '.join(_OF_A_MODEL)}, all."
        )
    check_picture(_PLOT.value, "--plot")


def _checked_config():
    if _CONFIG.value is None:
        raise UserError("--what=data measures the data of a configuration: give --config=FILE.")
    import_keras()
    from keras_actionformer.training.config import check_config, check_sections

    check_sections(_CONFIG.value)
    check_config(_CONFIG.value)
    return _CONFIG.value


def _whole_numbers(name, texts):
    numbers = [int(text) for text in texts if text.strip().isdecimal()]
    if len(numbers) < len(texts) or not numbers or min(numbers) < 1:
        raise UserError(
            f"--{name} must be whole numbers above 0 with commas between, but is "
            f"{','.join(texts)!r}."
        )
    return numbers
