"""README, docs, help texts and docstrings: what they name exists, and what they say is so."""

import ast
import pathlib
import re
import runpy
import subprocess
import sys

import setuptools

import keras_actionformer
from helpers.published_facts import FACTS
from keras_actionformer.cli import VERBS
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
    known = {  # names in capitals stand for any
        r"\bconfigs/(\w+)\.py\b": CONFIGS,
        r"--config=([a-z]\w*)(?![\w./])": CONFIGS | PRESETS,
        r"\b(?:from_preset|list_presets)\(\"([a-z]\w*)\"": PRESETS,
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


def test_what_the_wheel_brings_names_no_program_of_a_checkout():
    programs = re.compile(rf"\bbin/(?:{'|'.join([*VERBS, 'demo', 'test'])})\b")
    parts = [ROOT / "configs", ROOT / "keras_actionformer"]
    texts = {path: text_of(path) for path in SOURCES if set(parts) & set(path.parents)}
    assert not {path: found for path, text in texts.items() if (found := programs.findall(text))}


# === Pages and links ===

README, DOCS = ROOT / "README.md", ROOT / "docs"
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def text_of(page):
    return page.read_text(encoding="utf-8")


def prose_of(page):
    return re.sub("`[^`]*`", "", _FENCED.sub("", text_of(page)))


def links_of(page):
    """The links of a page within the repository, as (path, heading or "")."""
    for target in _LINK.findall(prose_of(page)):
        if not re.match("https?:", target):
            path, _, heading = target.partition("#")
            yield (page.parent / path).resolve() if path else page, heading


def anchors_of(page):
    """What the headings of a page are called in links to them."""
    headings = re.findall("^#+ (.*)$", _FENCED.sub("", text_of(page)), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_is_short():
    assert len(text_of(README).splitlines()) <= 200


def test_links_lead_somewhere():
    wrong = []
    for page in PAGES:
        for path, heading in links_of(page):
            there = path.exists() and (not heading or heading in anchors_of(path))
            wrong += [] if there else [f"{page}: {path}#{heading}"]
    assert not wrong


def test_every_page_is_reached_from_readme():
    reached, new = set(), {README}
    while new:
        page = new.pop()
        reached.add(page)
        new |= {path for path, _ in links_of(page) if path.suffix == ".md"} - reached
    assert not set(PAGES) - reached


def test_generated_pages_are_what_the_code_says():
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_package_index_gets_absolute_links(monkeypatch):
    told = {}
    monkeypatch.setattr(setuptools, "setup", told.update)
    runpy.run_path(str(ROOT / "setup.py"))
    links = _LINK.findall(told["long_description"])
    ours = [link.removeprefix(told["url"]) for link in links if link.startswith(told["url"])]
    assert {link.split("/")[1] for link in ours} == {"blob", "raw"}
    assert len(ours) == len(list(links_of(README)))
    for link in ours:
        assert (ROOT / link.partition("#")[0].split("/", 3)[3]).exists()
    citation = text_of(ROOT / "CITATION.cff")
    assert f"\nrepository-code: {told['url']}\n" in citation
    assert f"\nversion: {told['version']}\n" in citation


# === Commands and code ===


def options_of_verbs():
    """`{verb: names of its options}`, as docs/cli.md lists them."""
    sections = re.split("^## (.*)$", text_of(DOCS / "cli.md"), flags=re.M)
    return {
        verb: set(re.findall(r"^\| `--(?:\[no\])?(\w+)` \|", text, re.M))
        for verb, text in zip(sections[1::2], sections[2::2], strict=True)
    }


def commands_of(page):
    """Commands of the library that a page tells, as (verb, text of its options)."""
    blocks = [text.replace("\\\n", " ") for kind, text in _FENCED.findall(text_of(page))]
    spans = re.findall("`([^`]*)`", _FENCED.sub("", text_of(page)))
    lines = [line for block in blocks for line in block.splitlines()]
    for line in [*lines, *(" ".join(span.split()) for span in spans)]:
        program, verb, options = re.match(
            r"\s*(?:\$ )?(keras-actionformer |bin/)?([a-z-]*)(.*)", line
        ).groups()
        options = options.partition(" -- ")[0]  # behind it stand those of Beam
        if program and verb or verb in VERBS and options.startswith(" --"):
            yield verb, options


def test_commands_name_verbs_and_options_that_exist():
    options = {**options_of_verbs(), "help": set(), "demo": {"video"}, "test": set()}
    settings = set(re.findall(r"^\| `([\w.]+)` \|", text_of(DOCS / "settings.md"), re.M))
    assert options.keys() >= set(VERBS) and "train.epochs" in settings
    wrong = []
    for page in PAGES:
        for verb, text in commands_of(page):
            for name in re.findall(r"(?<=\s)--([\w.]+)", text):
                if name.startswith("config."):
                    known = name.removeprefix("config.") in {*settings, "section.name"}
                else:
                    known = verb in options and {name, name.removeprefix("no")} & options[verb]
                wrong += [] if known or name == "help" else [f"{page}: {verb} --{name}"]
            wrong += [] if verb in options else [f"{page}: {verb}"]
    # What training.md shows to be refused.
    assert wrong == [f"{DOCS / 'training.md'}: train --config.train.epoch"]


def python_of(page):
    return [code for kind, code in _FENCED.findall(text_of(page)) if kind == "python"]


def test_code_imports_public_names_from_the_top():
    wrong = []
    for page in PAGES:
        for code in python_of(page):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom) and "keras_actionformer" in node.module:
                    names = {alias.name for alias in node.names}
                    if node.module != "keras_actionformer":
                        wrong.append(f"{page}: {node.module}")
                    wrong += [f"{page}: {n}" for n in names - set(keras_actionformer.__all__)]
    assert not wrong


def test_first_code_of_readme_prints_what_readme_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(python_of(README)[0], {})
    said = next(text for kind, text in _FENCED.findall(text_of(README)) if kind == "text")
    assert capsys.readouterr().out == said
