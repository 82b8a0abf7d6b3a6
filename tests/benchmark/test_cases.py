"""What the benchmark measures, on networks so small that the figures themselves say nothing."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers.models import small_model
from helpers.programs import ROOT, run_program
from helpers.small_run import small_config, write_data
from keras_actionformer import ActionFormer
from keras_actionformer.benchmark import cases
from keras_actionformer.benchmark.flops import gflop
from keras_actionformer.benchmark.measurements import HEADER, Measurement, plot
from keras_actionformer.benchmark.meter import Meter, available_modes, machine
from keras_actionformer.benchmark.process import measure_alone
from keras_actionformer.data.grid import FeatureGrid
from keras_actionformer.detection.decode import decode
from keras_actionformer.detection.suppression import suppress
from keras_actionformer.errors import UserError


def small_meter(**changes):
    return Meter(**{"num_runs": 1, "matrix_size": 16, "conv_steps": 8, "conv_width": 4, **changes})


def assert_sane(measurement):
    """Times, rates and memory agree with each other."""
    assert measurement.quantity == "ms" and len(measurement.values) == 1
    (ms,) = measurement.values
    assert 0 < ms < 1e6
    if measurement.gflop is not None:
        assert measurement.useful_gflops == pytest.approx(measurement.gflop / (ms / 1e3))
        (rate,) = measurement.primitive_gflops
        assert measurement.share == pytest.approx(measurement.useful_gflops / rate)
    if measurement.peak_mb is not None:
        assert 10 < measurement.peak_mb < 1e6


# --- what is measured ----------------------------------------------------------------------------


def test_forward():
    model = small_model()
    found = list(cases.benchmark_forward(model, small_meter(), (8, 20), (1, 3), modes=["graph"]))
    assert len(found) == len({(one.case, one.num_steps) for one in found}) == 2 * 2
    for one in found:
        assert_sane(one)
        batch_size = 3 if one.case.endswith("batch 3") else 1
        assert one.gflop == pytest.approx(batch_size * gflop(model.architecture, one.num_steps))
        assert one.peak_mb is not None


@pytest.mark.slow
def test_forward_in_every_mode():
    found = list(cases.benchmark_forward(small_model(), small_meter(), (8,)))
    assert [one.case.split(", ")[1] for one in found] == list(available_modes())
    assert available_modes() == ("graph", "xla")


@pytest.mark.slow
def test_mixed_lengths_count_the_work_of_all():
    model = small_model()
    for found in cases.benchmark_mixed(model, small_meter(), 3, shortest=5, longest=60):
        assert_sane(found)
        assert 3 * gflop(model.architecture, 5) < found.gflop < 3 * gflop(model.architecture, 60)


@pytest.mark.slow
def test_detect_holds_its_parts():
    found = list(cases.benchmark_detect(small_model(), small_meter(), (16, 24)))
    assert [one.num_steps for one in found] == [16] * 4 + [24] * 4
    assert [one.case for one in found[:4]] == [
        "network",
        "network and decoding",
        "network, decoding and suppression",
        "detect",
    ]
    for one in found:
        assert_sane(one)
        assert one.peak_mb is None  # they share a process


@pytest.mark.slow
def test_long():
    model = small_model()
    found = list(cases.benchmark_long(model, small_meter(), factors=(1, 2)))
    assert [one.num_steps for one in found] == [48, 96]
    for one in found:
        assert_sane(one)
        assert one.gflop == pytest.approx(gflop(model.architecture, one.num_steps))


@pytest.mark.slow
def test_a_model_that_resizes_does_the_work_of_its_length():
    model = small_model(force_upsampling=True)
    (found,) = cases.benchmark_long(model, small_meter(), factors=(2,))
    assert found.gflop == pytest.approx(gflop(model.architecture, 48))


def test_train():
    model = small_model()
    before = [np.array(variable) for variable in model.trainable_variables]
    (found,) = cases.benchmark_train(model, small_meter(), batch_size=2, modes=["graph"])
    assert_sane(found)
    assert found.num_steps == 48
    assert found.gflop == pytest.approx(3 * 2 * gflop(model.architecture, 48))
    # A real step: weights moved, gradients are clipped, and the weights' averages are kept.
    assert any(
        np.any(np.array(variable) != old)
        for variable, old in zip(model.trainable_variables, before, strict=True)
    )
    assert model.optimizer.global_clipnorm and model.optimizer.use_ema


def test_train_on_a_given_length():
    model = small_model()
    (found,) = cases.benchmark_train(model, small_meter(), length=24, modes=["graph"])
    assert found.num_steps == 24
    assert found.gflop == pytest.approx(3 * 2 * gflop(model.architecture, 24))


@pytest.mark.slow
def test_train_with_recomputing():
    model = small_model()
    (found,) = cases.benchmark_train(model, small_meter(), modes=["graph"], recompute=True)
    assert model.recompute and found.case.startswith("recompute step, graph")
    assert found.gflop == pytest.approx(3 * 2 * gflop(model.architecture, 48))  # no work of its own


@pytest.mark.slow
def test_train_in_every_mode():
    found = list(cases.benchmark_train(small_model(), small_meter()))
    assert [one.case.split(", ")[1] for one in found] == ["graph", "xla"]


def test_attention():
    found = list(cases.benchmark_attention(small_meter(), (2,), (4, 6), ["graph"], 30, 8, window=5))
    assert [one.case for one in found] == [
        f"attention, 2 heads of 4, blocks of {block}, graph" for block in (4, 6)
    ]
    for one in found:
        assert_sane(one)


def test_nms():
    found = list(cases.benchmark_nms(small_meter(), modes=["graph"]))
    assert len(found) == len({one.case for one in found}) == 2
    for one in found:
        assert_sane(one)
        assert one.gflop is None and one.useful_gflops is None and one.share is None


def test_suppression_is_measured_on_12000_candidates_that_become_200():
    *outputs, lengths = cases.made_up_outputs()
    candidates = decode(*outputs, lengths, cases.POSTPROCESS)
    assert candidates[1].shape == (1, 12_000)
    assert np.mean(candidates[3]) > 0.9
    num_detections = suppress(*candidates, cases.POSTPROCESS)[3]
    assert num_detections.numpy().tolist() == [200]


def test_evaluate():
    (found,) = cases.benchmark_evaluate(small_meter(), 20, 10, num_classes=4)
    assert_sane(found)
    assert found.case == "evaluation, 200 detections"


def test_data(tmp_path):
    write_data(tmp_path)
    found = list(cases.benchmark_data(small_config(tmp_path), 1, batches_per_run=2))
    assert [one.quantity for one in found] == ["batches/s", "MB/s"] * 2
    assert all(value > 0 for one in found for value in one.values)


@pytest.mark.slow
def test_export():
    for module in ("ai_edge_litert", "ai_edge_quantizer", "tf2onnx", "onnxruntime"):
        pytest.importorskip(module)
    keras.utils.set_random_seed(2)
    model = ActionFormer(
        input_dim=8,
        num_classes=3,
        backbone_arch=(1, 0, 1),
        embd_dim=64,  # a narrower network has nothing to quantize
        fpn_dim=64,
        head_dim=64,
        n_head=2,
        n_mha_win_size=5,
        max_seq_len=32,
        cls_prior_prob=0.3,
        grid=FeatureGrid(25, 4, 16),
    )
    found = list(cases.benchmark_export(model, small_meter(), (20,)))
    sizes = [one for one in found if one.quantity == "MB"]
    assert len(sizes) == 6 and all(0 < one.median < 100 for one in sizes)
    times = [one for one in found if one not in sizes]
    assert len(times) == 7 and len({one.case for one in times}) == 7
    for one in times:
        assert_sane(one)
        assert one.peak_mb is None  # they share a process


def test_primitives():
    product, conv = small_meter(num_runs=2, dtype="bfloat16").measure_primitives()
    for one in (product, conv):
        assert one.quantity == "GFLOP/s" and len(one.values) == 2 and min(one.values) > 0
        assert one.case.startswith("bfloat16")


def test_machine():
    found = machine()
    assert found["threads"] <= found["cores"] == os.cpu_count()
    assert found["modes"] == "graph/xla" and found["backend"].startswith("tensorflow 2.")
    json.dumps(found)


# --- runs ----------------------------------------------------------------------------------------


def test_a_case_is_warmed_up_and_then_run_so_often():
    calls = []
    measurement = small_meter(num_runs=3).measure("case", lambda: calls.append(0))
    assert len(calls) == 5 and len(measurement.values) == 3


def test_figures_of_a_measurement():
    one = Measurement(
        "case", "ms", (10.0, 40.0, 20.0), 7, gflop=2.0, primitive_gflops=(400, 100, 50)
    )
    assert one.median == 20 and one.useful_gflops == 100
    assert one.share == 0.5  # of 200 / 400, 50 / 100 and 100 / 50: each run by its own neighbour
    assert one.is_noisy and not Measurement("case", "ms", (10.0, 12.9)).is_noisy
    cells = str(one).split()
    assert cells == ["case,", "7", "steps", "20.0", "10.0", "40.0", "ms", "100.0", "50%", "noisy"]
    assert str(one).index("ms") == HEADER.index("unit")


def test_a_measurement_goes_through_json():
    one = Measurement("case", "ms", (1.0, 2.0), 7, 3.0, (4.0, 5.0), 6.0)
    assert Measurement.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_alone_in_a_process():
    machine, (found,), problem = measure_alone(
        "nms", num_runs=2, options={"multiclass": [True], "modes": ["graph"]}
    )
    assert machine["modes"] == "graph/xla" and problem is None
    assert len(found.values) == 2 and found.peak_mb > 100


def test_a_process_that_fails(capfd):
    with pytest.raises(UserError, match="measured 'nothing' ended with status 1"):
        measure_alone("nothing")
    assert "KeyError: 'nothing'" in capfd.readouterr().err


FORWARD_WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # any import of it raises now
from keras_actionformer import ActionFormer
from keras_actionformer.benchmark import cases
from keras_actionformer.benchmark.meter import Meter, machine
model = ActionFormer(4, 2, backbone_arch=(1, 1, 1), embd_dim=8, fpn_dim=8, head_dim=8, n_head=2,
                     n_mha_win_size=3, max_seq_len=16)
meter = Meter(1, matrix_size=16, conv_steps=8, conv_width=4)
for one in cases.benchmark_forward(model, meter, (16,)):
    print(one.case, one.useful_gflops > 0, one.share > 0)
for one in cases.benchmark_mixed(model, meter, 2, shortest=3, longest=9):
    print(one.case, one.useful_gflops > 0)
print(machine()["backend"].split()[0])
"""


@pytest.mark.slow
def test_forward_on_jax_without_tensorflow():
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", FORWARD_WITHOUT_TENSORFLOW],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "forward, xla, float32, batch 1 True True",
        "detect, xla, float32, 2 of 3 to 9 steps True",
        "jax",
    ], done.stderr


# --- plot ----------------------------------------------------------------------------------------

LINES = [
    Measurement("graph", "ms", (1.0, 2.0, 3.0), 256),
    Measurement("graph", "ms", (4.0,), 1024),
    Measurement("xla", "ms", (2.0,), 256),
    Measurement("convolution", "GFLOP/s", (50.0,), 2304),
]


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    plot(LINES, tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    plot(LINES, tmp_path / "cost.svg")
    assert os.listdir(tmp_path) in (["cost.png", "cost.svg"], ["cost.svg", "cost.png"])


def test_plot_of_nothing(tmp_path):
    with pytest.raises(UserError, match="nothing of that was measured"):
        plot(LINES[3:], tmp_path / "cost.png")


def test_plot_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'keras-actionformer\[plot\]'"):
        plot(LINES, tmp_path / "cost.png")


# --- program -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--lengths=256,0"], "--lengths must be whole numbers above 0"),
        (["--batch_sizes=two"], "--batch_sizes must be whole numbers above 0"),
        (["--what=speed"], "what"),
        (["--dtype=float8"], "dtype"),
        (["--what=data"], "give --config=FILE"),
        (["--what=nms", "--plot=cost.png"], "--what=nms has no lengths"),
        (["--plot=cost.txt"], "--plot must end in .png, .svg, .pdf, but is 'cost.txt'"),
        (["--json=."], "'.' is a folder"),
        (["--preset=thumos15"], "There is no preset 'thumos15'"),
    ],
)
def test_wrong_options(tmp_path, arguments, text):
    done = run_program(tmp_path, "benchmark", *arguments)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("benchmark: ") and text in line


@pytest.mark.slow
def test_program(tmp_path):
    small_model().save_to_preset(tmp_path / "preset")
    done = run_program(
        tmp_path, "benchmark", "--preset=preset", "--lengths=16", "--runs=1", "--what=forward",
        "--dtype=bfloat16", "--json=all.json", timeout_sec=1200,  # XLA compiles in each process
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("processor ") and HEADER in done.stdout.splitlines()
    result = json.loads((tmp_path / "all.json").read_text())
    assert result["machine"]["cores"] == os.cpu_count()
    found = [Measurement.from_dict(values) for values in result["measurements"]]
    assert len(found) == 2 + 2 + 2  # primitives, modes, mixed lengths
    assert all(str(one) in done.stdout.splitlines() for one in found)
    assert all("bfloat16" in one.case for one in found)
