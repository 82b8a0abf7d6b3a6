"""The configuration files of OpenTAD, which are Python programs, read as data.

Nothing in a file runs. A program may assign literals, `dict(...)` calls and names that it assigned
before; whatever else it does is refused by name. Files named in `_base_` are merged as mmengine
merges them. The log of a training holds the whole merged configuration as such a text.
"""

import ast
import json
import re

from keras_actionformer.errors import UserError
from keras_actionformer.files import told_if_unreadable

_MAX_BYTES = 64 * 2**20  # a log of a long training
_MAX_PROGRAM_BYTES = 2**20
_MAX_BASES = 50  # files that one configuration is merged from
_MAX_MERGES = 100_000  # sections may share each other: a short text can stand for endless ones
_BASE, _DELETE = "_base_", "_delete_"
_LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_LOG_CONFIG = re.compile(r"\bConfig:\s*$")


def read_config(path):
    """Reads a configuration of OpenTAD.

    Args:
      path: `pathlib.Path`: a Python file with what it is based on, the log of a training or a
        test (`log.json`; of several configurations in it the last), or the merged configuration
        as JSON.

    Returns:
      dict of sections.

    Raises:
      UserError: the file does not exist, holds no configuration, or does more than state one.
    """
    if path.suffix == ".py":
        return _merged_file(path, [])
    text = _read(path, _MAX_BYTES)
    if text.lstrip().startswith("{"):
        with told_if_unreadable(f"'{path}' is no configuration"):
            return json.loads(text)
    program = _program_in_log(text)
    if program is None:
        raise UserError(
            f"'{path}' holds no configuration of OpenTAD: a log of its programs has it after a "
            "line that ends with 'Config:'."
        )
    return _Program(path, program).settings()


def _read(path, limit):
    with told_if_unreadable(f"Configuration file '{path}' cannot be read"):
        if not path.is_file():
            raise UserError(f"Configuration file '{path}' does not exist.")
        if path.stat().st_size > limit:
            raise UserError(f"'{path}' is too large for a configuration file.")
        return path.read_text(encoding="utf-8")


def _program_in_log(text):
    """The text of the last configuration in a log, or None."""
    program, lines = None, None
    for line in text.splitlines():
        if _LOG_CONFIG.search(line):
            program = lines = []
        elif _LOG_LINE.match(line):
            lines = None
        elif lines is not None:
            lines.append(line)
    return None if program is None else "\n".join(program)


# === Merging ===


def _merged_file(path, seen, above=()):
    """The settings of a file over those of the files that it is based on.

    Args:
      path: `pathlib.Path`.
      seen: list of the files read so far, which grows.
      above: files that lead here, each based on the next.
    """
    if path.resolve() in above or len(seen) >= _MAX_BASES:
        raise UserError(f"'{path}' is based on itself, or on more than {_MAX_BASES} files.")
    if above and not path.is_file():
        raise UserError(
            f"'{above[-1]}' is based on '{path}', which does not exist: pass the configuration "
            "where it lies in OpenTAD, or the log of the training (log.json), which holds it whole."
        )
    seen.append(path)
    own = _Program(path, _read(path, _MAX_PROGRAM_BYTES)).settings()
    bases = own.pop(_BASE, [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list | tuple) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"'{path}': {_BASE} must be a path or a list of paths.")
    merged = {}
    for base in bases:
        found = _merged_file(path.parent / base, seen, (*above, path.resolve()))
        for name in found.keys() & merged.keys():
            raise UserError(f"'{path}': two of the files in its {_BASE} assign {name!r}.")
        merged.update(found)
    return _Merge(path).of(own, merged)


class _Merge:
    """Merges sections as mmengine does: dicts into dicts, anything else replaces.

    A dict with `_delete_=True` replaces, too.
    """

    def __init__(self, path):
        self._path, self._left = path, _MAX_MERGES

    def of(self, own, base):
        self._left -= 1
        if self._left < 0:
            raise UserError(f"'{self._path}' has more sections than a configuration has.")
        merged = dict(base)
        for name, value in own.items():
            old = merged.get(name)
            if not isinstance(value, dict):
                merged[name] = value
                continue
            if name in merged and not value.get(_DELETE, False) and not isinstance(old, dict):
                raise UserError(
                    f"'{self._path}': {name!r} is a dict, but what it is based on has something "
                    f"else there; {_DELETE}=True replaces that."
                )
            keep = isinstance(old, dict) and not value.get(_DELETE, False)
            inner = {key: item for key, item in value.items() if key != _DELETE}
            merged[name] = self.of(inner, old if keep else {})
        return merged


# === Programs ===


class _Program:
    """What a Python program assigns, without running it.

    Args:
      path: `pathlib.Path`, for messages.
      text: str, the program.
    """

    def __init__(self, path, text):
        self._path, self._names = path, {}
        try:
            self._tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UserError(f"'{path}' is no Python program that states settings.") from None

    def settings(self):
        """Returns the names that it assigns, with their values: a dict."""
        for node in self._tree.body:
            is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if is_text or isinstance(node, ast.Pass):
                continue
            is_assignment = (
                isinstance(node, ast.Assign)
                and len(node.targets) == 1
                and isinstance(node.targets[0], ast.Name)
            )
            if not is_assignment:
                raise self._refused(node)
            try:
                self._names[node.targets[0].id] = self._value(node.value)
            except RecursionError:
                raise UserError(f"'{self._path}' nests deeper than a configuration.") from None
        return dict(self._names)

    def _value(self, node):
        if isinstance(node, ast.Constant) and isinstance(node.value, _LITERALS):
            return node.value
        if isinstance(node, ast.List):
            return [self._value(item) for item in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(self._value(item) for item in node.elts)
        if isinstance(node, ast.Dict):
            return self._dict(zip(node.keys, node.values, strict=True))
        if isinstance(node, ast.Name) and node.id in self._names:
            return self._names[node.id]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            number = self._value(node.operand)
            if isinstance(number, int | float) and not isinstance(number, bool):
                return -number
        if isinstance(node, ast.Call) and _called(node) == "dict" and not node.args:
            return self._dict((word.arg, word.value) for word in node.keywords)
        raise self._refused(node)

    def _dict(self, items):
        """A dict of (key, value): each a node or, the key, a str; None stands for `**value`."""
        result = {}
        for key, value in items:
            if key is None:
                more = self._value(value)
                if not isinstance(more, dict):
                    raise self._refused(value)
                result.update(more)
                continue
            key = self._value(key) if isinstance(key, ast.AST) else key
            if not isinstance(key, str | int):
                raise self._refused(value)
            result[key] = self._value(value)
        return result

    def _refused(self, node):
        return UserError(
            f"'{self._path}', line {node.lineno}: it {_what(node)}; a configuration is read and "
            "not run, so it may assign texts, numbers, lists, dicts and names assigned before. The "
            "log of a training (log.json) holds all settings in this form."
        )


_LITERALS = (str, int, float, bool, type(None))


def _called(node):
    """The name that a call calls, as far as it is one: `f` or `a.b.f`."""
    names, function = [], node.func
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    names.append(function.id if isinstance(function, ast.Name) else "...")
    return ".".join(reversed(names))[:60]


def _what(node):
    """What a program does at a node, for a message."""
    if isinstance(node, ast.Expr):
        return _what(node.value)
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", None) or node.names[0].name
        return f"imports {module[:60]}"
    if isinstance(node, ast.Call):
        return f"calls {_called(node)}()"
    if isinstance(node, ast.Name):
        return f"uses {node.id[:60]!r}, which it has not assigned"
    if isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp | ast.GeneratorExp):
        return "has a comprehension"
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return f"defines {node.name[:60]}"
    return f"has a {type(node).__name__}"


# === Finding ===


def find_config(checkpoint):
    """Finds the settings of an experiment beside one of its checkpoints.

    Args:
      checkpoint: `pathlib.Path`, in the experiment's folder or in its `checkpoint` folder.

    Returns:
      `pathlib.Path` of `log.json`, or of the only Python file there, or None.
    """
    folders = [checkpoint.parent]
    if checkpoint.parent.name == "checkpoint":
        folders.append(checkpoint.parent.parent)
    for folder in folders:
        if (folder / "log.json").is_file():
            return folder / "log.json"
        programs = [path for path in folder.glob("*.py") if path.is_file()]
        if len(programs) == 1:
            return programs[0]
    return None
