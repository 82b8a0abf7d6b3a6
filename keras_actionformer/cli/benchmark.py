"""Measures how fast things are on this machine.

  benchmark --what=data --config=configs/thumos14_i3d.py
  benchmark --what=data --config=configs/thumos14_i3d.py --json=data.json

data: batches a second of a configuration's training data, from memory and from files.

Each figure is the median of several runs, with the least and the most.
"""

import json

from absl import flags
from ml_collections import config_flags

from keras_actionformer.cli.explain import check_sections
from keras_actionformer.cli.quiet import import_keras
from keras_actionformer.files import atomic_write

_WHAT = flags.DEFINE_enum("what", "data", ["data"], "What to measure.")
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    help_string="Configuration file; --config.section.name=value changes one of its settings.",
)
_RUNS = flags.DEFINE_integer("runs", 7, "Runs of each measurement.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "JSON file to write all values to.")

flags.mark_flag_as_required("config")


def main():
    import_keras()
    from keras_actionformer import benchmark
    from keras_actionformer.config import check_config

    check_sections(_CONFIG.value)
    check_config(_CONFIG.value)
    machine = benchmark.machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(f"{'':<34} {'median':>9} {'min':>9} {'max':>9}")
    measurements = []
    for measurement in benchmark.benchmark_data(_CONFIG.value, _RUNS.value):
        print(measurement, flush=True)
        measurements.append(measurement)
    if _JSON.value:
        with atomic_write(_JSON.value) as file:
            rows = [measurement.to_dict() for measurement in measurements]
            json.dump({"machine": machine, "measurements": rows}, file, indent=1)
            file.write("\n")
