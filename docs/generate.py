"""Writes the pages that only repeat what the code says: settings.md and cli.md.

    python docs/generate.py            # writes them
    python docs/generate.py --check    # exit status 1 where one is not what the code says

A setting is explained by the comment beside it in `default_config()`, or by its line in the
docstring of the class whose argument it is; an option by its help. What is explained nowhere is an
error, here and in the tests.
"""

import ast
import html
import importlib
import inspect
import io
import pathlib
import re
import sys
import textwrap
import tokenize

DOCS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # this checkout, whatever is installed

from absl import flags  # noqa: E402
from ml_collections import ConfigDict  # noqa: E402

from keras_actionformer import Architecture, PostProcess, default_config  # noqa: E402
from keras_actionformer.cli import VERBS, module_name  # noqa: E402

NOTE = "<!-- Written by docs/generate.py from the code: change it there. -->\n"


def main():
    pages = {"settings.md": settings_page(), "cli.md": cli_page()}
    old = [name for name, text in pages.items() if not is_written(DOCS / name, text)]
    if sys.argv[1:] == ["--check"]:
        if old:
            sys.exit(f"{', '.join(old)}: not what the code says; run python docs/generate.py.")
        return
    for name in old:
        (DOCS / name).write_text(pages[name], encoding="utf-8")
        print(f"Wrote {DOCS / name}.")


def is_written(path, text):
    return path.exists() and path.read_text(encoding="utf-8") == text


# --- settings.md ---------------------------------------------------------------------------------


def settings_page():
    """Markdown: every field of `default_config()` with its type, default and meaning."""
    config = default_config()
    meanings = comments(default_config)
    meanings |= {f"model.{name}": text for name, text in documented(Architecture).items()}
    meanings |= {f"postprocess.{name}": text for name, text in documented(PostProcess).items()}
    sections = [name for name in meanings if isinstance(config.get(name), ConfigDict)]
    lines = [
        NOTE,
        "# Settings of a run",
        "",
        "A configuration is a Python file with a function `get_config()` that starts from",
        "`default_config()` and changes what its data needs; `--config.SECTION.NAME=VALUE` on the",
        "command line of `train` changes it further. Names and types are checked. The page",
        "[training](training.md) shows how; this one lists every setting.",
        "",
        *table(config, set(config) - set(sections), "", meanings),
    ]
    for section in sections:
        lines += ["", f"## {section}", ""]
        if meanings[section]:
            lines += [f"{meanings[section][0].upper()}{plain(meanings[section][1:])}.", ""]
        lines += table(config[section], set(config[section]), f"{section}.", meanings)
    return "\n".join(lines) + "\n"


def table(config, names, prefix, meanings):
    """Lines of a table with a row for each field, in the order in which they are explained."""
    unexplained = sorted(name for name in names if not meanings.get(prefix + name))
    if unexplained:
        sys.exit(f"Nothing explains {prefix}{unexplained[0]}: write a comment beside it.")
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for name, meaning in meanings.items():
        if name.startswith(prefix) and name.removeprefix(prefix) in names:
            field = name.removeprefix(prefix)
            kind = config.get_type(field)
            kind = "any" if kind is object else kind.__name__
            meaning = plain(meaning).removeprefix(f"{kind}, ")  # as docstrings begin
            lines.append(row(f"`{name}`", kind, f"`{config[field]!r}`", meaning))
    return lines


def comments(function):
    """What the comments in a function say of the settings it assigns, in its order.

    Returns:
      `{"section.name": text}`: the lines above an assignment and what stands behind it, or "".
    """
    source = textwrap.dedent(inspect.getsource(function))
    lines = source.splitlines()
    found = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    sections, meanings = {"config": ""}, {}
    for node in ast.parse(source).body[0].body:
        target = node.targets[-1] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
            continue
        for variable in node.targets[:-1]:  # data = config.data = ...
            sections[variable.id] = f"{target.attr}."
        above = node.lineno - 1
        while lines[above - 1].lstrip().startswith("#"):
            above -= 1
        texts = [found[number] for number in range(above + 1, node.lineno)]
        texts.append(found.get(node.end_lineno, ""))
        meanings[sections[target.value.id] + target.attr] = " ".join(texts).strip()
    return meanings


def documented(kind):
    """What a class's docstring says of its arguments: `{name: text}`."""
    (text,) = re.findall(
        r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", inspect.getdoc(kind), re.M | re.S
    )
    entries = re.findall(r"^  (\w[\w, ]*): (.*?)(?=^  \w|\Z)", text, re.M | re.S)
    return {
        name: " ".join(meaning.split()) for names, meaning in entries for name in names.split(", ")
    }


# --- cli.md --------------------------------------------------------------------------------------


def cli_page():
    """Markdown: every verb with its help, its options and their defaults."""
    lines = [
        NOTE,
        "# Programs",
        "",
        "`keras-actionformer VERB --OPTION=VALUE ...`; `python -m keras_actionformer VERB` and, in",
        "a clone, `bin/VERB` are the same. `keras-actionformer help VERB` lists what stands here.",
        "What you can mend is told in one sentence, with exit status 2; Ctrl-C gives 130, and a",
        "training that SIGTERM or SIGHUP ends gives 143 or 129.",
        "",
        "| verb | what it does |",
        "|---|---|",
        *(row(f"[{verb}](#{verb})", purpose) for verb, purpose in VERBS.items()),
    ]
    for verb in VERBS:
        others = set(flags.FLAGS)
        module = importlib.import_module(module_name(verb))
        lines += ["", f"## {verb}", "", "```text", module.__doc__.strip(), "```", ""]
        lines += ["| option | meaning | default |", "|---|---|---|"]
        for flag in flags.FLAGS.get_key_flags_for_module(module):
            name = f"`--{'[no]' if flag.boolean else ''}{flag.name}`"
            lines.append(row(name, plain(help_of(flag)), default_of(flag)))
        for name in set(flags.FLAGS) - others:  # the next verb may have one of this name
            delattr(flags.FLAGS, name)
    return "\n".join(lines) + "\n"


def help_of(flag):
    if not isinstance(flag, flags.EnumFlag):
        return flag.help
    meaning = flag.help.split(">: ", 1)[1]  # absl puts the values before it, as <a|b>
    return f"{meaning} {', '.join(f'`{value}`' for value in flag.parser.enum_values)}"


def default_of(flag):
    if flag.default is None:
        return "required" if any(not rule.checker(None) for rule in flag.validators) else ""
    return f"`{flag.default_as_str.strip(chr(39)) or chr(39) * 2}`"


# --- Markdown ------------------------------------------------------------------------------------


def row(*cells):
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def plain(text):
    """A comment or help as the text of a cell: not HTML, with no full stop in the end."""
    text = re.sub(r"(?<!\.)\.$", "", text)  # "hf://..." stays as it is
    parts = re.split("(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else html.escape(part, False) for part in parts)


if __name__ == "__main__":
    main()
