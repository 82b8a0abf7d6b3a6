"""Shards: what is found is what `detect` finds, bad files cost themselves, any stop is mended."""

import csv
import dataclasses
import functools
import io
import itertools
import json
import shutil

import numpy as np
import pytest

from helpers.models import CHANNELS, small_model
from keras_actionformer import UserError, load_detections, remote
from keras_actionformer.archive.inputs import Input, find_inputs
from keras_actionformer.archive.output import Outcome, OutputFolder, Shard
from keras_actionformer.archive.shards import Job, ShardDetector
from keras_actionformer.cli.detecting_models import local_model
from keras_actionformer.data.sidecars import Sidecar

LENGTHS = (40, 7, 41, 64, 90, 12, 70)
BAD = {"04", "06", "08"}  # cut short, of another width, not finite


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "preset"
    small_model().save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("archive") / "feats", np.random.default_rng(0)
    folder.mkdir()
    for number, steps in enumerate((*LENGTHS, 30, 20, 55)):
        feats = rng.standard_normal((steps, CHANNELS)).astype("float32")
        np.save(folder / f"{number:02d}.npy", feats)
    content = (folder / "04.npy").read_bytes()
    (folder / "04.npy").write_bytes(content[:-20])
    np.save(folder / "06.npy", np.zeros((30, 3)))
    np.save(folder / "08.npy", np.full((30, CHANNELS), np.inf, "float32"))
    return folder


@pytest.fixture(scope="module")
def detector(preset):
    return detector_of(preset)


def detector_of(preset, **options):
    open_model = functools.partial(local_model, None, str(preset), None, {}, False, None)
    return ShardDetector(Job(open_model, None, **options))


def run(detector, place, archive, retry_failed=False, format="jsonl"):
    """Does what is left of an archive, as the pipeline would; returns its `Outcome`s."""
    output = OutputFolder(str(place), format)
    detector._job = dataclasses.replace(detector._job, output=output)
    inputs = find_inputs([str(archive)], (".npy",), print)
    for shard in output.plan(inputs, 4, retry_failed):
        if shard.number not in output.done():
            detector.do(shard)
    output.write_tables(output.outcomes())
    return output.outcomes()


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_what_is_found_is_what_detect_finds_and_bad_files_cost_themselves(
    detector, archive, tmp_path
):
    outcomes = run(detector, tmp_path / "out", archive)
    assert [row.video for row in outcomes] == [f"{number:02d}" for number in range(10)]
    failed = {row.video: row.reason for row in outcomes if row.reason}
    assert failed.keys() == BAD
    assert "claims" in failed["04"] and "must have 5 channels" in failed["06"]
    assert "NaN or infinite" in failed["08"]
    found = {}
    for path in sorted((tmp_path / "out").glob("detections-*.jsonl")):
        found |= load_detections(path, detector.model.network.class_names)
    assert len(list((tmp_path / "out").glob("detections-*"))) == 3  # of 4, 4 and 2 files
    for row in outcomes:
        if row.reason:
            assert (row.steps, row.detections) == (None, None) and row.video not in found
            continue
        feats = np.load(archive / f"{row.video}.npy")
        expected = detector.model.network.detect(feats)
        assert row.steps == len(feats) and row.detections == len(expected)
        ours = found[row.video]
        np.testing.assert_array_equal(ours.labels, expected.labels)
        np.testing.assert_allclose(ours.segments_sec, expected.segments_sec, atol=1e-4)
        np.testing.assert_allclose(ours.scores, expected.scores, atol=1e-5)
    with open(tmp_path / "out" / "failed.csv", newline="") as file:
        assert {row["video"]: row["reason"] for row in csv.DictReader(file)} == failed


def test_stopped_before_any_of_its_writes_it_ends_as_if_it_had_not_been(
    detector, archive, tmp_path, monkeypatch
):
    run(detector, tmp_path / "undisturbed", archive)
    expected, write = contents(tmp_path / "undisturbed"), OutputFolder._write
    for moment in range(len(expected)):
        writes = itertools.count()

        def stopped(self, name, content):
            if next(writes) == moment:
                raise KeyboardInterrupt
            write(self, name, content)

        place = tmp_path / f"stopped_{moment}"
        with monkeypatch.context() as patch:
            patch.setattr(OutputFolder, "_write", stopped)
            with pytest.raises(KeyboardInterrupt):
                run(detector, place, archive)
        run(detector, place, archive)
        assert contents(place) == expected


def test_what_has_come_since_and_what_failed_get_shards_of_their_own(detector, archive, tmp_path):
    feats = tmp_path / "feats"
    shutil.copytree(archive, feats)
    run(detector, tmp_path / "out", feats)
    before = contents(tmp_path / "out")
    shutil.copy(feats / "00.npy", feats / "04.npy")
    shutil.copy(feats / "00.npy", feats / "99.npy")
    assert {row.video for row in run(detector, tmp_path / "out", feats) if row.reason} == BAD
    outcomes = run(detector, tmp_path / "out", feats, retry_failed=True)
    assert {row.video for row in outcomes if row.reason} == BAD - {"04"}
    (same,) = {row.detections for row in outcomes if row.video in ("00", "04", "99")}
    after = contents(tmp_path / "out")
    assert len(outcomes) == 11 and same > 0
    shards = {name for name in before if name.startswith(("detections", "done"))}
    assert all(after[name] == before[name] for name in shards)
    assert {name for name in after if name.startswith("detections")} - shards == {
        "detections-00003.jsonl", "detections-00004.jsonl",
    }  # fmt: skip
    with pytest.raises(UserError, match="has detections of '.*/feats/00.npy' by this name"):
        run(detector, tmp_path / "out", archive)


def test_a_retry_that_was_stopped_is_gone_on_with_and_not_planned_again(
    detector, archive, tmp_path, monkeypatch
):
    place = tmp_path / "out"
    run(detector, place, archive)
    with monkeypatch.context() as patch:
        patch.setattr(detector, "do", stop)
        with pytest.raises(KeyboardInterrupt):
            run(detector, place, archive, retry_failed=True)
    run(detector, place, archive, retry_failed=True)
    planned = [json.loads(line) for line in (place / "plan.jsonl").read_text().splitlines()]
    assert [sorted(row[0] for row in rows) for rows in planned[3:]] == [sorted(BAD)]


def stop(shard):
    raise KeyboardInterrupt


def test_other_times_of_a_video_need_another_folder_unless_it_failed(tmp_path):
    output = OutputFolder(str(tmp_path), "jsonl")
    before = {video: Input(video, f"/{video}.npy", 25.0) for video in "ab"}
    (shard,) = output.plan(before, 4, False)
    output.write_shard(
        shard, {}, [Outcome("a", "/a.npy", 5, 0), Outcome("b", "/b.npy", reason="x")]
    )
    now = before | {"b": Input("b", "/b.npy", 30.0)}
    with pytest.raises(UserError, match="'b' has fps 30.0, but .* of it with 25.0: choose another"):
        output.plan(now, 4, False)
    _, retried = output.plan(now, 4, True)
    assert output.inputs(retried) == [now["b"]]


def test_a_shard_whose_detections_were_removed_is_done_again(detector, archive, tmp_path):
    run(detector, tmp_path, archive)
    before = contents(tmp_path)
    (tmp_path / "detections-00001.jsonl").unlink()
    output = OutputFolder(str(tmp_path), "jsonl")
    assert output.done() == {0, 2} and len(output.outcomes()) < len(LENGTHS) + 3
    run(detector, tmp_path, archive)
    assert contents(tmp_path) == before


def test_a_plan_that_another_process_replaced_is_not_followed(tmp_path):
    output = OutputFolder(str(tmp_path), "jsonl")
    (shard,) = output.plan({"a": Input("a", "/a.npy")}, 4, False)
    (tmp_path / "plan.jsonl").write_text('[["b", "/b.npy", null, null]]\n')
    with pytest.raises(UserError, match="plan.jsonl' was changed by another process meanwhile"):
        output.inputs(shard)


@pytest.mark.parametrize("content", ["", '{"a"', "[1]", "[[[]]]", "\udcff"])
@pytest.mark.parametrize("name", ["settings.json", "plan.jsonl", "done/00000.json"])
def test_a_damaged_file_of_the_folder_is_told(tmp_path, name, content):
    output = OutputFolder(str(tmp_path), "jsonl")
    output.check_settings({"model": "a"})
    (shard,) = output.plan({"a": Input("a", "/a.npy")}, 4, False)
    output.write_shard(shard, {}, [Outcome("a", "/a.npy", 5, 0)])
    (tmp_path / name).write_bytes(f"{content}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=f"{name}' is damaged .*choose another --output"):
        output.check_settings({"model": "a"})
        output.plan({}, 4, False)
        output.outcomes()


def test_a_folder_is_of_one_process_at_a_time(tmp_path):
    output = OutputFolder(str(tmp_path / "out"), "jsonl")
    with output.alone(), pytest.raises(UserError, match="is detecting there.*another --output"):
        with output.alone():
            pass
    assert not list(tmp_path.iterdir())
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="out is a file: name a folder"), output.alone():
        pass


def test_other_settings_need_another_folder(tmp_path):
    output = OutputFolder(str(tmp_path / "out"), "jsonl")
    output.check_settings({"model": "a", "fps": None})
    output.check_settings({"model": "a", "fps": None})
    with pytest.raises(UserError, match="detections of another fps: None, and not 25; choose"):
        output.check_settings({"model": "a", "fps": 25})


def test_an_output_that_cannot_be_looked_into_is_told_with_its_address(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    def refuse(*_, **__):
        raise RuntimeError("status 500")

    for name in ("exists", "ls", "cat_file"):
        monkeypatch.setattr(fsspec.get_filesystem_class("memory"), name, refuse)
    output = OutputFolder("memory://shards/refused", "jsonl")
    acts = {
        "settings.json' cannot be looked for": lambda: output.check_settings({}),
        "done' cannot be listed": output.done,
        "plan.jsonl' cannot be read": lambda: output.inputs(Shard(0, 0, 9, 0)),
    }
    for told, act in acts.items():
        with pytest.raises(UserError, match=f"'memory://shards/refused/{told} .*status 500"):
            act()


def test_addresses_and_parquet(detector, archive, tmp_path):
    pytest.importorskip("fsspec")
    parquet = pytest.importorskip("pyarrow.parquet")
    for path in archive.iterdir():
        remote.upload(path, f"memory://shards/feats/{path.name}")
    outcomes = run(detector, "memory://shards/out", "memory://shards/feats", format="parquet")
    assert {row.video for row in outcomes if row.reason} == BAD
    run(detector, tmp_path / "out", archive)
    for number in range(3):
        content = remote.read(f"memory://shards/out/detections-0000{number}.parquet")
        table = parquet.read_table(io.BytesIO(content)).to_pylist()
        lines = (tmp_path / "out" / f"detections-0000{number}.jsonl").read_text().splitlines()
        assert table == [
            {
                "video": row["video"],
                "start_sec": row["segment"][0],
                "end_sec": row["segment"][1],
                "label": row["label"],
                "score": row["score"],
            }
            for row in map(json.loads, lines)
        ]
    table = remote.read("memory://shards/out/files.csv").decode()
    assert table.startswith(
        "video,path,steps,detections,reason\n00,memory://shards/feats/00.npy,40,"
    )


def test_times_are_those_of_the_features_of_the_table_or_of_the_option(preset, archive, tmp_path):
    feats = tmp_path / "feats"
    feats.mkdir()
    for name in "abc":
        shutil.copy(archive / "03.npy", feats / f"{name}.npy")
    Sidecar(50, 4, 16, 1.0, 50).save(feats / "b.npy")
    Sidecar(30, 4, 16, 1.0, 50).save(feats / "c.npy")
    detector = detector_of(preset, fps=50.0, score_threshold=0.4, top_k=3)
    outcomes = run(detector, tmp_path / "out", feats)
    assert "but --fps is 50" in outcomes[2].reason and not outcomes[0].reason
    found = load_detections(tmp_path / "out" / "detections-00000.jsonl")
    model = detector.model.network
    for name, duration_sec in (("a", None), ("b", 1.0)):
        expected = model.detect(np.load(feats / f"{name}.npy"), 50.0, duration_sec)
        expected = expected.filter(0.4).top_k(3)
        np.testing.assert_allclose(found[name].segments_sec, expected.segments_sec, atol=1e-4)
