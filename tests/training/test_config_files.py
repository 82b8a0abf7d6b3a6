"""Configurations by name and by path."""

import pathlib
import shutil

import pytest

from keras_actionformer import load_config
from keras_actionformer.errors import UserError
from keras_actionformer.training import config_files

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """A folder that a test may write to, with two configurations, one of which extends the other.

    They need nothing but Python, so that no test waits for Keras.
    """
    (tmp_path / "base.py").write_text('"""The base.\n\nMore."""\ndef get_config(n=1): return [n]')
    (tmp_path / "more.py").write_text(
        '"""More."""\n'
        "import pathlib\n"
        "from keras_actionformer import load_config\n"
        "def get_config():\n"
        "    return [0, *load_config(pathlib.Path(__file__).with_name('base.py'), n=2)]\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_by_name_or_by_path(copies, monkeypatch):
    assert load_config("base.py") == [1] == load_config(copies / "base.py")
    assert load_config("more.py") == [0, 2]
    monkeypatch.setattr(config_files, "built_in_folder", lambda: copies)
    monkeypatch.chdir("/")
    assert load_config("more") == [0, 2]
    assert config_files.built_in_configs() == {"base": "The base.", "more": "More."}


def test_a_file_here_comes_before_a_built_in_name(copies):
    shutil.copy("base.py", "thumos14_i3d")
    assert config_files.find_config("thumos14_i3d") == pathlib.Path("thumos14_i3d")
    (copies / "hapt").mkdir()
    assert config_files.find_config("hapt") == CONFIGS / "hapt.py"


@pytest.mark.parametrize(
    "name, message",
    [
        ("thumos14_i3", "no configuration 'thumos14_i3'; did you mean 'thumos14_i3d'"),
        ("qqq", r"no configuration 'qqq'\. `keras-actionformer help train` lists them\.$"),
        ("bas.py", "file 'bas.py' does not exist; did you mean 'base.py'"),
        ("configs/hapt.py", "file 'configs/hapt.py' does not exist; did you mean 'hapt'"),
        ("no/hapt", r"file 'no/hapt' does not exist; did you mean 'hapt'"),
        ("", "built-in name or the path of a file, but got ''"),
        (None, "built-in name or the path of a file, but got None"),
        (".", "is a folder"),
    ],
)
def test_what_there_is_not(copies, name, message):
    with pytest.raises(UserError, match=message):
        load_config(name)


def test_where_they_are(tmp_path, monkeypatch):
    """Beside the package in a checkout, inside it where it is installed."""
    assert config_files.built_in_folder() == CONFIGS
    shutil.copytree(CONFIGS, tmp_path / "package" / "configs")
    module = tmp_path / "package" / "training" / "config_files.py"
    monkeypatch.setattr(config_files, "__file__", str(module))
    assert config_files.find_config("hapt") == tmp_path / "package" / "configs" / "hapt.py"
    assert set(config_files.built_in_configs()) == {path.stem for path in CONFIGS.glob("*.py")}


@pytest.mark.parametrize(
    "text, message",
    [
        ("settings = 1", "'mine.py' has no function get_config"),
        ("\ndef get_config(:", "'mine.py', line 2, is not Python"),
    ],
)
def test_a_file_that_is_no_configuration(copies, text, message):
    (copies / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message):
        load_config("mine.py")
