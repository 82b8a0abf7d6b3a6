"""Checkpoints on the Hugging Face hub: which files are downloaded, and what is opened."""

import shutil
import sys
import types

import pytest

from helpers.reference_parameters import reference_parameters
from helpers.torch_writer import repeated, write_checkpoint
from keras_actionformer import ActionFormer, UserError
from keras_actionformer.presets.hub import download
from keras_actionformer.presets.reference import choose_checkpoint

YAML = """
dataset: {num_classes: 3, input_dim: 4, max_seq_len: 16, feat_stride: 4, num_frames: 16}
model: {backbone_arch: [2, 1, 1], embd_dim: 8, fpn_dim: 8, head_dim: 8, n_head: 2,
        n_mha_win_size: 3}
"""
SMALL = dict(input_dim=4, num_classes=3, backbone_arch=(2, 1, 1), embd_dim=8, fpn_dim=8, head_dim=8)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository in a folder, a cache, and which files were asked for."""
    remote, cache = tmp_path / "remote", tmp_path / "cache"
    remote.mkdir()
    asked = []

    def list_repo_files(repo_id, revision=None):
        if not remote.exists():
            raise ConnectionError("no route to host")
        return [x.relative_to(remote).as_posix() for x in remote.rglob("*") if x.is_file()]

    def snapshot_download(repo_id, revision=None, allow_patterns=None, local_files_only=False):
        if not local_files_only:
            asked.append(sorted(allow_patterns))
            for name in allow_patterns:
                (cache / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(remote / name, cache / name)
        if not cache.exists():
            raise FileNotFoundError("not cached")
        return str(cache)

    module = types.SimpleNamespace(
        list_repo_files=list_repo_files, snapshot_download=snapshot_download
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return types.SimpleNamespace(remote=remote, cache=cache, asked=asked)


def test_a_demo_repository_opens_in_one_line(hub):
    shapes = reference_parameters(SMALL)
    weights = {f"module.{name}": repeated(0.5, shape) for name, shape in shapes.items()}
    write_checkpoint(hub.remote / "checkpoint_ema.pth.tar", {"epoch": 3, "state_dict": weights})
    (hub.remote / "thumos_i3d.yaml").write_text(YAML)
    for name in ("README.md", "figure.png", "features.npy"):
        (hub.remote / name).write_text("not needed")
    model = ActionFormer.from_preset("hf://someone/demo")
    assert hub.asked == [["checkpoint_ema.pth.tar", "thumos_i3d.yaml"]]
    assert model.provenance["source"] == "checkpoint_ema.pth.tar, averaged weights"
    assert model.network_weights[0].shape == (3, 4, 8)
    assert float(model.network_weights[0][0, 0, 0]) == 0.5
    shutil.rmtree(hub.remote)  # and once more without a network
    assert ActionFormer.from_preset("hf://someone/demo").config == model.config


def test_where_there_is_nothing_to_choose(hub):
    for name in ("a.pth", "b.pth"):
        (hub.remote / name).touch()
    with pytest.raises(UserError, match="hf://a/b holds neither a preset .* nor one checkpoint"):
        download("hf://a/b")
    shutil.rmtree(hub.remote)
    with pytest.raises(UserError, match="cannot be downloaded: no route to host"):
        download("hf://a/b")


@pytest.mark.parametrize(
    "names, chosen",
    [
        (["a/epoch_9.pth", "a/epoch_10.pth", "best.pth"], "a/epoch_10.pth"),
        (["epoch_002.pth.tar", "x.pth.tar"], "epoch_002.pth.tar"),
        (["model_best.pth.tar", "README.md"], "model_best.pth.tar"),
        (["model.pth", "model_ema.pth"], "model_ema.pth"),
        (["model.pth", "schema.pth"], None),
        (["weights.pt", "x.onnx"], None),
    ],
)
def test_which_checkpoint_is_chosen(names, chosen):
    assert choose_checkpoint(names) == chosen
