"""What README, docs, help texts and docstrings say of configurations and presets is so."""

import pathlib
import re

from published_facts import FACTS

from keras_actionformer.presets.builtin import ARCHITECTURES

ROOT = pathlib.Path(__file__).parents[1]
CONFIGS = {path.stem for path in (ROOT / "configs").glob("*.py")}
PRESETS = {*ARCHITECTURES, "simulated"}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Among them the verbs, whose help is the docstring of their module.
SOURCES = sorted(
    path
    for folder in ("bin", "configs", "docs", "keras_actionformer")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and path.suffix in ("", ".py", ".pyi")
)

# === Published figures ===


def published_rows():
    """Rows of the tables whose last column is published scores, as lists of cells."""
    for page in PAGES:
        header = None
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not line.startswith("|"):
                header = None
            elif header is None:
                header = cells
            elif header[-1].startswith("published"):
                yield cells


def names_in(cell):
    """The names that a cell lists, where `_c` after `a_b` is short for `a_c`."""
    names = re.findall(r"`(\w+)`", cell)
    return [names[0].split("_")[0] + name if name[0] == "_" else name for name in names]


def test_tables_tell_the_published_scores():
    told = {}
    for *cells, scores in published_rows():
        scores = re.findall(r"\d+\.\d\d", scores)
        for names in map(names_in, cells):
            if scores and FACTS.keys() & names:
                told |= dict(zip(names, scores, strict=True))
    published = {name: facts.scores for name, facts in FACTS.items() if facts.scores}
    for name in told.keys() & published.keys():
        assert told[name] == f"{published[name][-1]:.2f}", name
    assert not published.keys() - told.keys()


def test_tables_tell_the_published_numbers_of_parameters():
    told = {}
    for name, *cells in published_rows():
        for number in re.findall(r"\b\d{1,3}(?:,\d{3})+\b", " ".join(cells)):
            told[name.strip("`")] = int(number.replace(",", ""))
    for name in ARCHITECTURES:
        assert told[name] == FACTS[name].num_parameters


# === Names ===


def test_configurations_presets_and_modules_that_a_text_names_exist():
    known = {
        r"\bconfigs/(\w+)\.py\b": CONFIGS,
        r"--config=(\w+)(?![\w./])": CONFIGS | PRESETS,
        r"\b(?:from_preset|list_presets)\(\"(\w+)\"": PRESETS,
        r"\bdefault_config\(\"(\w+)\"": set(ARCHITECTURES),
        r"\bkeras_actionformer/([\w/]+)\.py\b": {
            path.relative_to(ROOT / "keras_actionformer").with_suffix("").as_posix()
            for path in ROOT.glob("keras_actionformer/**/*.py")
        },
    }
    wrong = []
    for path in [*PAGES, *SOURCES]:
        text = path.read_text(encoding="utf-8")
        for pattern, names in known.items():
            wrong += [f"{path}: {name}" for name in re.findall(pattern, text) if name not in names]
    assert not wrong
