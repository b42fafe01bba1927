"""Whether a config file is data: told from its text, without executing any of it.

A config in Python may do anything. What configs need, though, is little: names, literals, ``dict(...)`` and sums. A
file of these alone, on files of these alone (``_base_``), cannot run code when it is loaded.
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from openmix.engine.plain_yaml import PlainLoader

__all__ = ["KINDS", "Reading", "read_static"]

KINDS = (".py", ".json", ".yaml", ".yml")
IMPORTS = "custom_imports runs the modules that it names"
BUILDERS = ("dict", "list", "tuple")
LARGEST, LONGEST = 2**63, 10_000  # a number, a string that a sum makes: a few lines could fill any memory
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip
SPELLED: dict[type[ast.AST], str] = {
    ast.Import: "an import", ast.ImportFrom: "an import", ast.FunctionDef: "a function", ast.ClassDef: "a class",
    ast.Lambda: "a function", ast.JoinedStr: "an f-string", ast.Delete: "a deletion", ast.With: "a with statement",
    ast.If: "a condition", ast.IfExp: "a condition", ast.For: "a loop", ast.While: "a loop", ast.Try: "a try",
    ast.ListComp: "a comprehension", ast.SetComp: "a comprehension", ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension", ast.Subscript: "an index", ast.Starred: "an unpacking",
}  # fmt: skip


class _CodeError(Exception):
    """Something that is no data, with the node where it stands."""

    def __init__(self, node: ast.AST, what: str) -> None:
        super().__init__(what)
        self.line = getattr(node, "lineno", 1)


@dataclass
class Reading:
    """What was found in a config file and all that it is based on.

    Attributes:
        code: each place that is more than data, as ``FILE, line N: what``.
        imports: each ``custom_imports``, likewise. Where both are empty, loading the file runs nothing.
        notes: what is no code, and yet to be known: bases from elsewhere.
        files: the files that were read.
    """

    code: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


def read_static(path: str | Path) -> Reading:
    """Read a config file (.py, .json, .yaml, .yml) and its ``_base_`` files, at any depth, and execute nothing.

    Example:
        >>> read_static("configs/quickstart/digits_mixup.py").code
        []
    """
    reading = Reading()
    _read(Path(path), _tree(Path(path)), reading)
    return reading


def _tree(path: Path) -> Path:
    """Return the folder to which a config belongs: the nearest above it that has bases, or its own."""
    parents = path.resolve().parents
    return next((folder for folder in parents if (folder / "_base_").is_dir()), parents[0])


def _read(path: Path, tree: Path, reading: Reading) -> None:
    if path in reading.files:
        return
    reading.files.append(path)
    try:
        bases = _bases_of(path, reading)
    except OSError as error:
        reading.code.append(f"{path}, line 1: it cannot be read: {error.strerror or error}")
    except (SyntaxError, yaml.YAMLError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        said = " ".join(str(getattr(error, "msg", None) or error).split())
        reading.code.append(f"{path}, line {line}: it cannot be read: {type(error).__name__}: {said}")
    else:
        for base, line in bases:
            if "::" in base:
                reading.code.append(f"{path}, line {line}: _base_ {base!r} lies in a package, which is not looked into")
                continue
            file = path.parent / base
            if not file.resolve().is_relative_to(tree):
                reading.notes.append(
                    f"{path}, line {line}: _base_ {base!r} lies outside of {tree}; it was read as well"
                )
            _read(file, tree, reading)


def _bases_of(path: Path, reading: Reading) -> list[tuple[str, int]]:
    """Return the bases that a file names, with their lines, and note what in it is no data."""
    if path.suffix not in KINDS:
        raise ValueError(f"a config is one of {', '.join(KINDS)}")
    if not path.is_file():
        raise FileNotFoundError(None, "no such file")
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        if "{{" in line:
            reading.code.append(f"{path}, line {number}: '{{{{' stands for text that is put in before the file is read")
    if path.suffix == ".py":
        module = _Module(str(path), reading)
        module.read(ast.parse(text, str(path)))
        return module.bases
    content = json.loads(text) if path.suffix == ".json" else yaml.load(text, PlainLoader)
    if not isinstance(content, Mapping):
        raise ValueError(f"a config is a mapping of names to values, not a {type(content).__name__}")
    if "custom_imports" in content:
        reading.imports.append(f"{path}, line {_line_of('custom_imports', text)}: {IMPORTS}")
    bases = content.get("_base_", [])
    bases = bases if isinstance(bases, list) else [bases]
    if not all(isinstance(base, str) for base in bases):
        raise ValueError(f"_base_ is a file or a list of files, got {bases!r}")
    return [(base, _line_of("_base_", text)) for base in bases]


def _line_of(word: str, text: str) -> int:
    return text[: max(text.find(word), 0)].count("\n") + 1


class _Module:
    """The statements of one file, held against what is data; ``scalars`` are the numbers and strings by name."""

    def __init__(self, file: str, reading: Reading) -> None:
        self.file = file
        self.reading = reading
        self.bases: list[tuple[str, int]] = []
        self.names: set[str] = set()
        self.scalars: dict[str, Any] = {}

    def read(self, module: ast.Module) -> None:
        """Take the statements one by one, and go on after one that is code."""
        for statement in module.body:
            try:
                self._statement(statement)
            except _CodeError as error:
                self.reading.code.append(f"{self.file}, line {error.line}: {error}")

    def _statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring, or a value that nobody takes
        if not isinstance(node, ast.Assign):
            raise _code(node.value if isinstance(node, ast.Expr) else node)
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        if len(names) < len(node.targets):
            raise _CodeError(node, f"{ast.unparse(node.targets[0])} = ... changes something, or gives several names")
        for name in names:  # known from here on, whatever its value is: one mistake is to be told once
            self.names.add(name)
            self.scalars.pop(name, None)
        if "_base_" in names:
            return self._base(node)
        for name in names:
            if name.startswith("__") or name in (*BUILDERS, "float"):
                raise _CodeError(node, f"{name} is a name of Python's own")
            if name == "custom_imports":
                self.reading.imports.append(f"{self.file}, line {node.lineno}: {IMPORTS}")
        value = self._value(node.value)
        if value is not None:
            self.scalars |= dict.fromkeys(names, value)

    def _base(self, node: ast.Assign) -> None:
        items = node.value.elts if isinstance(node.value, ast.List) else [node.value]
        named = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if len(node.targets) > 1 or len(named) < len(items) or self.bases:
            raise _CodeError(node, "_base_ is to be given once, as a file's name or a list of such, and nothing else")
        self.bases = [(name, node.lineno) for name in named]

    def _value(self, node: ast.expr) -> Any:
        """Return a number or a string; None for any other data.

        Raises:
            _CodeError: it is no data.
        """
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            if node.id not in self.names:
                raise _CodeError(node, f"{node.id!r} is no name that this file has given to a value before")
            return self.scalars.get(node.id)
        if isinstance(node, ast.BinOp | ast.UnaryOp):
            return self._arithmetic(node)
        if isinstance(node, ast.List | ast.Tuple):
            parts: list[Any] = node.elts
        elif isinstance(node, ast.Dict) and None not in node.keys:
            parts = [*node.keys, *node.values]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILDERS:
            parts = [*node.args, *(keyword if keyword.arg is None else keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            return self._float(node)
        else:
            raise _code(node)
        for part in parts:
            self._value(part)
        return None

    def _float(self, node: ast.Call) -> float:
        try:
            (argument,) = node.args
            assert isinstance(argument, ast.Constant) and not node.keywords
            return float(argument.value)  # type: ignore[arg-type]
        except (AssertionError, ValueError, TypeError):
            raise _CodeError(node, f"{_shown(node)} is not float() of one literal") from None

    def _arithmetic(self, node: ast.BinOp | ast.UnaryOp) -> Any:
        """Return what a sum comes to: what could grow without bound, or is not of numbers, is refused."""
        if isinstance(node, ast.UnaryOp):
            operands, operation = [self._value(node.operand)], {ast.USub: operator.neg, ast.UAdd: operator.pos}
        else:
            operands, operation = [self._value(node.left), self._value(node.right)], OPERATORS
        function = operation.get(type(node.op))  # type: ignore[call-overload]
        strings = isinstance(node.op, ast.Add) and all(isinstance(operand, str) for operand in operands)
        if function is None or not (strings or all(isinstance(operand, int | float) for operand in operands)):
            raise _CodeError(node, f"{_shown(node)} is no arithmetic of numbers, and no sum of strings")
        if isinstance(node.op, ast.Pow) and max(map(abs, operands)) > 1000:
            raise _CodeError(node, f"{_shown(node)} may be a huge number")
        try:
            result = function(*operands)
            fits = len(result) <= LONGEST if strings else not isinstance(result, int) or abs(result) < LARGEST
        except (ArithmeticError, TypeError) as error:
            raise _CodeError(node, f"{_shown(node)} cannot be computed: {error}") from None
        if not fits:
            raise _CodeError(node, f"{_shown(node)} is too large")
        return result


def _code(node: ast.AST) -> _CodeError:
    if isinstance(node, ast.Call):
        return _CodeError(node, f"a call of {_shown(node.func)}")
    if isinstance(node, ast.Attribute):
        return _CodeError(node, f"an attribute, {_shown(node)}")
    return _CodeError(node, f"{SPELLED.get(type(node), 'code')}: {_shown(node)}")


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node).split("\n")[0]
    return text if len(text) <= 60 else text[:57] + "..."
