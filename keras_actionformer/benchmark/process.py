"""Runs a case of the benchmark in a process of its own: its memory is then its own, too."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras_actionformer
from keras_actionformer.benchmark.measurements import Measurement
from keras_actionformer.errors import UserError
from keras_actionformer.quiet import import_keras


def measure_alone(what, **case):
    """Measures a case in a process of its own.

    Args:
      what, **case: arguments of `cases.run_case`, as JSON can hold them.

    Returns:
      (dict, list of `Measurement`, str or None): the machine, with the modes it has; what was
      measured; and why there is no more, in one sentence.

    Raises:
      UserError: the process was ended.
    """
    package = pathlib.Path(keras_actionformer.__file__).parent.parent
    path = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    with tempfile.TemporaryDirectory() as scratch:
        target = pathlib.Path(scratch, "result.json")
        status = subprocess.run(
            [sys.executable, "-m", __name__, json.dumps({"what": what, **case}), target],
            env={**os.environ, "PYTHONPATH": path},
            stdout=sys.stderr,
            check=False,
        ).returncode
        if status:
            raise UserError(
                f"The process that measured {what!r} ended with status {status}; if it had too "
                "little memory, try smaller --lengths or --batch_sizes."
            )
        found = json.loads(target.read_text(encoding="utf-8"))
    measurements = [Measurement.from_dict(values) for values in found["measurements"]]
    return found["machine"], measurements, found["problem"]


def main(argv):
    """`CASE RESULT`: the other side of `measure_alone`.

    Args:
      argv: list of str: the case as JSON; the file to write.
    """
    case, target = argv
    import_keras()
    from keras_actionformer.benchmark import cases, meter

    measurements, problem = [], None
    try:
        for measurement in cases.run_case(**json.loads(case)):
            measurements.append(measurement.to_dict())
    except UserError as error:
        problem = str(error)
    found = {"machine": meter.machine(), "measurements": measurements, "problem": problem}
    pathlib.Path(target).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)  # the other process has got it, too, and says so
