"""Pages of HTML that need nothing beside them, from `templates/`.

Script and style of a page are those of `templates/`, named by their hashes in a policy that forbids
the browser everything else: whatever texts of others a page shows, none of them runs, and nothing
is fetched.
"""

import base64
import hashlib
import json
import pathlib

import keras_actionformer
from keras_actionformer.extras import import_extra

_TEMPLATES = pathlib.Path(__file__).with_name("templates")
_SCRIPTS = ("counts.js", "document.js", "charts.js", "timelines.js", "page.js")
_STYLE = "page.css"
# Okabe and Ito's colours, which people with any kind of colour vision tell apart, and two more.
_LIGHT = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B97F00", "#3A9BD1", "#7A5195", "#6B6B2A")
_DARK = ("#4BA3DB", "#F08C3C", "#2CC79A", "#E09BC4", "#F2BC4B", "#8ACBF5", "#B693D6", "#BDBD6C")
NUM_COLOURS = len(_LIGHT)
HEAT_STEPS = 10


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
    """Rules for the colours of classes (`k0`, ...) and for cells of the confusion matrix (`h0`)."""
    named = [
        "".join(f"--k{place}: {colour}; " for place, colour in enumerate(colours))
        for colours in (_LIGHT, _DARK)
    ]
    rules = [
        f":root {{ {named[0]} }}",
        f"@media (prefers-color-scheme: dark) {{ :root {{ {named[1]} }} }}",
        *(f".k{place} {{ --c: var(--k{place}); }}" for place in range(NUM_COLOURS)),
        *(
            f".h{step} {{ background: rgb(0 114 178 / {step / HEAT_STEPS / 1.6:.2f}); }}"
            for step in range(1, HEAT_STEPS + 1)
        ),
    ]
    return "\n".join([*rules, ""])
