"""Pages of HTML that need nothing beside them, from `templates/`.

Script and style of a page are those of `templates/`, named by their hashes in a policy that forbids
the browser everything else: whatever texts of others a page shows, none of them runs, and nothing
is fetched.
"""

import base64
import dataclasses
import hashlib
import json
import pathlib

import keras_actionformer
from keras_actionformer.extras import import_extra
from keras_actionformer.report.palette import CLASS_COLOURS, DARK, HEAT, LIGHT

_TEMPLATES = pathlib.Path(__file__).with_name("templates")
_SCRIPTS = ("counts.js", "document.js", "charts.js", "timelines.js", "page.js")
_STYLE = "page.css"
NUM_COLOURS = len(CLASS_COLOURS)
HEAT_STEPS = 10
_DEEPEST = 0.6  # opacity, at which text can still be read


def open_templates():
    """The templates, as an environment of Jinja2.

    Raises:
      UserError: it is not installed.
    """
    jinja2 = import_extra("jinja2", "Jinja2", "report", "Writing a page")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,  # texts of others are on the page
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def fill(environment, template, data, charts_by_part, can_play=False, **parts):
    """The text of a page.

    Args:
      environment: see `open_templates`.
      template: str, a name in `templates/`.
      data: dict for JSON, what the page's script reads.
      charts_by_part: {name of a part: list of charts}, see `charts`.
      can_play: bool, whether the page may show videos that lie beside it.
      **parts: what the template has places for.
    """
    all_charts, places = [], {}
    for name, some in charts_by_part.items():
        places[name] = range(len(all_charts), len(all_charts) + len(some))
        all_charts += some
    content = json.dumps(
        {**data, "charts": all_charts}, separators=(",", ":"), allow_nan=False
    ).replace("<", "\\u003c")  # no text of others ends the element
    script = "".join(_read(name) for name in _SCRIPTS)
    script = f'(function () {{\n"use strict";\n{script}}})();\n'
    style = _read(_STYLE) + _colours()
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "img-src": "data:",
        **({"media-src": "'self' file:"} if can_play else {}),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    safe = environment.filters["safe"]
    return environment.get_template(template).render(
        policy="; ".join(f"{name} {value}" for name, value in policy.items()),
        version=keras_actionformer.__version__,
        data=safe(content),
        script=safe(script),
        style=safe(style),
        charts=all_charts,
        chart_places=places,
        **parts,
    )


def _read(name):
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _hash(text):
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _colours():
    """Rules for the colours of the page, of classes (`k0`, ...) and of confusions (`h1`, ...)."""
    light, dark = (
        "; ".join(f"--{name}: {colour}" for name, colour in dataclasses.asdict(theme).items())
        for theme in (LIGHT, DARK)
    )
    heats = [
        (step, f"{HEAT}{round(255 * _DEEPEST * step / HEAT_STEPS):02X}")
        for step in range(1, HEAT_STEPS + 1)
    ]
    rules = [
        f":root {{ {light} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}",
        ".kfaint { --c: var(--faint) }",
        *(f".k{place} {{ --c: {colour} }}" for place, colour in enumerate(CLASS_COLOURS)),
        *(f".h{step} {{ background: {heat} }}" for step, heat in heats),
    ]
    return "\n".join([*rules, ""])
