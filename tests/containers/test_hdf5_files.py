"""HDF5 files of strangers cost no process of ours its life, and lead nowhere else."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from keras_actionformer.containers import hdf5_files, hdf5_survey
from keras_actionformer.containers.hdf5_files import open_hdf5
from keras_actionformer.data.features import FeatureFiles


def test_sound_files_open(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["deep/er/a"] = np.arange(6).reshape(2, 3)
        file["deep/loop"] = file["deep"]  # groups may hold each other
        file["soft"] = h5py.SoftLink("/deep/er/a")
        file["nowhere"] = h5py.SoftLink("/x")
        file["none"] = h5py.Empty("f4")
        file["text"] = "a"
        file.create_dataset("packed", data=np.ones((99, 7)), compression="gzip", shuffle=True)
    with open_hdf5(path) as file:
        assert file["soft"][:].tolist() == [[0, 1, 2], [3, 4, 5]] and file["packed"][:].all()


def to_a_pipe(file, folder):
    os.mkfifo(folder / "pipe")
    file["v"] = h5py.ExternalLink(str(folder / "pipe"), "/v")


def stored_elsewhere(file, folder):
    file.create_dataset("v", (10, 8), "u1", external=[("/etc/passwd", 0, 80)])


def virtual(file, folder):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "b.h5"), "v", (4, 3))
    file.create_virtual_dataset("v", layout)


def claims(file, folder):
    file.create_dataset("v", (2**45, 32), "f4", chunks=(65536, 32), compression="gzip")


def large_chunk(file, folder):
    file.create_dataset("v", (3, 32), "f4", chunks=(2**24, 32), maxshape=(None, 32))


def zeros(file, folder):
    file.create_dataset("v", data=np.zeros((2**19, 64), "f4"), compression="gzip")


@pytest.mark.parametrize(
    "make,text",
    [
        (to_a_pipe, "its link 'v' leads to another file"),
        (stored_elsewhere, "data set 'v' takes numbers from other files"),
        (virtual, "data set 'v' takes numbers from other files"),
        (claims, "it claims 4504 TB of numbers but stores 0 bytes"),
        (large_chunk, "it claims 2.147 GB of numbers but stores"),
        (zeros, "it claims 134.2 MB of numbers but stores"),
    ],
)
def test_what_leads_elsewhere_or_claims_too_much_is_refused(tmp_path, make, text):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("g")
        make(file["g"], tmp_path)
    with pytest.raises(ValueError, match=text):
        open_hdf5(tmp_path / "a.h5")


def test_damage_is_told(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for i in range(20):
            file[f"v{i}"] = np.ones((40, 32), "f4")
    content = path.read_bytes()
    for place in (0, 100, 800, len(content) // 2):
        path.write_bytes(content[:place] + b"\n" + content[place:])
        with pytest.raises(ValueError, match="^[^\n]+$"):
            open_hdf5(path)


def test_what_ends_the_other_process_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"")
    # As HDF5 does over some damaged files, but at once and always.
    monkeypatch.setattr(hdf5_survey, "__name__", "signal_or_sleep")
    (tmp_path / "signal_or_sleep.py").write_text("import os; os.abort()")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="HDF5 does not survive it: status -6"):
        open_hdf5(tmp_path / "a.h5")
    (tmp_path / "signal_or_sleep.py").write_text("import time; time.sleep(60)")
    (tmp_path / "a.h5").write_bytes(b"other")
    monkeypatch.setattr(hdf5_files, "_SURVEY_SEC", 1)
    monkeypatch.setattr(hdf5_files, "_PATIENCE", 1)
    with pytest.raises(ValueError, match="HDF5 does not get through it in 1 s"):
        open_hdf5(tmp_path / "a.h5")


def test_a_file_is_looked_through_once(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = [1]
    open_hdf5(tmp_path / "a.h5").close()
    monkeypatch.setattr(hdf5_files.sys, "executable", "/nowhere")
    open_hdf5(tmp_path / "a.h5").close()
    monkeypatch.setattr(hdf5_files.sys, "executable", "")  # where there is no Python to start
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["v"] = h5py.ExternalLink("b.h5", "/v")
    with pytest.raises(ValueError, match="leads to another file"):
        open_hdf5(tmp_path / "a.h5")


WRITER = """
import sys, h5py
with h5py.File(sys.argv[1], "w", libver=sys.argv[2], locking=True) as file:
    file["v"] = [1, 2]
    file.flush()
    print("written", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "libver, variables, text",
    [
        ("earliest", {}, None),
        # HDF5 obeys the environment rather than us.
        ("earliest", {"HDF5_USE_FILE_LOCKING": "TRUE"}, "HDF5_USE_FILE_LOCKING=FALSE in the env"),
        ("latest", {}, "another program is writing it, so wait for its end"),
    ],
)
def test_a_file_that_another_process_writes_is_read_or_the_lock_is_named(
    tmp_path, monkeypatch, libver, variables, text
):
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    command = [sys.executable, "-c", WRITER, str(tmp_path / "a.h5"), libver]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"written\n"
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        if text is None:
            with open_hdf5(tmp_path / "a.h5") as file:
                assert file["v"][:].tolist() == [1, 2]
        else:
            with pytest.raises(ValueError, match=text):
                open_hdf5(tmp_path / "a.h5")
        writer.stdin.close()


@pytest.mark.parametrize("mode", ["r", "r+"])
def test_a_file_that_this_process_has_open_is_read_as_it_is_now(tmp_path, mode):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["v"] = np.zeros((5, 3), "float32")
    with h5py.File(path, mode) as file:
        if mode == "r+":
            file["v"][2] = 7
        np.testing.assert_array_equal(FeatureFiles(path).load("v"), file["v"])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(ValueError, match="it is no file, but"):
        open_hdf5(tmp_path / "a.h5")


def test_an_endless_survey_is_ended_by_its_own_limit(tmp_path, monkeypatch):
    (tmp_path / "a.h5").write_bytes(b"")
    (tmp_path / "endless.py").write_text(
        "import sys\n"
        "from keras_actionformer.containers import hdf5_survey\n"
        "def survey(*_):\n"
        "    while True: pass\n"
        "hdf5_survey.survey = survey\n"
        "hdf5_survey.main(*sys.argv[1:])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(hdf5_survey, "__name__", "endless")
    monkeypatch.setattr(hdf5_files, "_SURVEY_SEC", 1)
    with pytest.raises(ValueError, match="HDF5 does not get through it in 1 s"):
        open_hdf5(tmp_path / "a.h5")
