"""Measures how fast things are on this machine.

  benchmark --what=data --config=configs/thumos14_i3d.py
  benchmark --what=export --preset=thumos14_i3d --lengths=256,1024,2304
  benchmark --what=data --config=configs/thumos14_i3d.py --json=data.json

data: batches a second of a configuration's training data, from memory and from files.
export: one sequence from features to detections, in Keras and in each export format. Weights do
not matter: a built-in preset without any gets random ones.

Each figure is the median of several runs, with the least and the most.
"""

import json

from absl import flags, logging
from ml_collections import config_flags

from keras_actionformer.cli.explain import check_sections
from keras_actionformer.cli.quiet import import_keras
from keras_actionformer.errors import UserError
from keras_actionformer.files import atomic_write

_WHAT = flags.DEFINE_enum("what", "data", ["data", "export"], "What to measure.")
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="Configuration file; --config.section.name=value changes one of its settings.",
)
_PRESET = flags.DEFINE_string("preset", "thumos14_i3d", "A preset: name, folder or hf://...")
_LENGTHS = flags.DEFINE_list("lengths", ["256", "1024", "2304"], "Steps of the sequences.")
_RUNS = flags.DEFINE_integer("runs", 7, "Runs of each measurement.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "JSON file to write all values to.")


def main():
    lengths = _checked_lengths(_LENGTHS.value)
    import_keras()
    logging.set_verbosity(logging.WARNING)
    from keras_actionformer import benchmark

    if _WHAT.value == "data":
        results = benchmark.benchmark_data(_checked_config(), _RUNS.value)
    else:
        results = benchmark.benchmark_export(_model(), lengths, _RUNS.value)
    machine = benchmark.machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{'':<34} {'median':>9} {'min':>9} {'max':>9}")
    measurements = []
    for measurement in results:
        print(measurement, flush=True)
        measurements.append(measurement)
    if _JSON.value:
        with atomic_write(_JSON.value) as file:
            rows = [measurement.to_dict() for measurement in measurements]
            json.dump({"machine": machine, "measurements": rows}, file, indent=1)
            file.write("\n")


def _checked_config():
    from keras_actionformer.config import check_config

    if _CONFIG.value is None:
        raise UserError("--what=data measures the data of a configuration: give --config=FILE.")
    check_sections(_CONFIG.value)
    check_config(_CONFIG.value)
    return _CONFIG.value


def _checked_lengths(texts):
    lengths = [int(text) for text in texts if text.strip().isdecimal()]
    if len(lengths) < len(texts) or not lengths or min(lengths) < 1:
        raise UserError(
            f"--lengths must be whole numbers above 0 with commas between, but is "
            f"{','.join(texts)!r}."
        )
    return lengths


def _model():
    """The preset's model, with random weights where it has none."""
    from keras_actionformer.model import ActionFormer
    from keras_actionformer.presets import list_presets

    known = list_presets().get(_PRESET.value, {"has_weights": True})
    return ActionFormer.from_preset(_PRESET.value, load_weights=known["has_weights"])
