"""Cards of presets: what they tell, and that nobody's README is taken for one."""

import re

import pytest
import yaml

from helpers.models import small_model
from keras_actionformer import ActionFormer, UserError
from keras_actionformer.network.architecture import Architecture
from keras_actionformer.presets.card import card_text


def head_of(card):
    """The fields between the lines of dashes, which hubs read."""
    return yaml.safe_load(re.match(r"---\n(.*?)---\n", card, re.S)[1])


def test_what_a_card_tells(tmp_path):
    folder = tmp_path / "kitchen"
    small_model().save_to_preset(
        folder, "Finds what cooks do", "SlowFast", "CC-BY-4.0", "our runs",
        {"0.5": 71.234, "average": 60.0},
    )  # fmt: skip
    card = (folder / "README.md").read_text()
    assert head_of(card) == {
        "library_name": "keras-actionformer",
        "license": "cc-by-4.0",
        "tags": ["temporal-action-localization", "action-detection", "keras"],
    }
    for text in (
        "# kitchen\n",
        "Finds what cooks do.\n",
        "actions of 3 classes happen",
        "- Computed by: SlowFast.",
        "- Channels a step: 5.",
        "- Timing: of 25 frames a second, a step every 4 frames, of which each has seen 16.",
        "| jump  | 0.45 |",  # its threshold is that of all classes
        "| fall  | 0.625 |",
        "| 0.5     | 71.23 |",
        "- Weights: our runs.",
        "- Licence: CC-BY-4.0.",
    ):
        assert text in card
    code = re.search(r"```python\n(.*?)```", card, re.S)[1]
    compile(code, "card", "exec")
    assert "model.detect(feats)  # (steps, 5) floats" in code


def test_what_nobody_has_told(tmp_path):
    model = small_model(class_names=None, thresholds=None, grid=None)
    model.save_to_preset(tmp_path / "new")
    card = (tmp_path / "new" / "README.md").read_text()
    assert "license" not in head_of(card) and "No licence is told" in card
    assert "class\\_0, class\\_1, class\\_2." in card
    assert "each sequence has its own" in card and "## Scores" not in card


def test_texts_of_others_stay_texts(tmp_path):
    names = ("a | b", "<script>alert(1)</script>", "[x](http://y)")
    small_model(class_names=names).save_to_preset(
        tmp_path / "new", "One\n\n# two", licence="Ours *only*"
    )
    card = (tmp_path / "new" / "README.md").read_text()
    assert "a \\| b" in card and "<script" not in card and "[x](" not in card
    assert "One \\# two." in card
    assert head_of(card)["license"] == "other"
    assert head_of(card)["license_name"] == "Ours *only*"


@pytest.mark.parametrize(
    ("name", "shown"),
    [("1. walk", r"1\. walk, run."), ("- sit", r"\- sit, run."), ("---", r"\---, run."),
     ("0.5 m jump", "0.5 m jump, run."), ("a|b", r"a\|b, run.")],
)  # fmt: skip
def test_names_begin_no_list(name, shown):
    architecture = Architecture(input_dim=4, num_classes=2)
    told = dict.fromkeys(
        ["description", "feature_encoder", "licence", "source", "grid", "thresholds", "scores"], ""
    )
    told |= {
        "grid": None,
        "encoder": None,
        "class_names": [name, "run"],
        "num_parameters": 1,
        "versions": {},
    }
    assert f"## Classes\n\n{shown}\n" in card_text("x", architecture, told)


def test_pictures(tmp_path):
    picture = tmp_path / "what it finds.png"
    picture.write_bytes(b"\x89PNG")
    folder = tmp_path / "new"
    small_model().save_to_preset(folder, pictures=[picture])
    assert "![what it finds](pictures/what%20it%20finds.png)" in (folder / "README.md").read_text()
    assert (folder / "pictures" / picture.name).read_bytes() == b"\x89PNG"
    ActionFormer.from_preset(folder).save_to_preset(folder)
    assert not (folder / "pictures").exists()  # they were of what was saved then
    for wrong in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(UserError, match="pictures must be files .png, .svg"):
            small_model().save_to_preset(tmp_path / "other", pictures=[wrong])
    with pytest.raises(UserError, match="two are called alike"):
        small_model().save_to_preset(tmp_path / "other", pictures=[picture, picture])


def test_a_readme_of_somebody_is_not_replaced(tmp_path):
    folder = tmp_path / "new"
    model = small_model()
    model.save_to_preset(folder)
    (folder / "README.md").write_text("# My own words\n")
    with pytest.raises(UserError, match="holds other files, such as 'README.md'"):
        model.save_to_preset(folder)
    assert (folder / "README.md").read_text() == "# My own words\n"
