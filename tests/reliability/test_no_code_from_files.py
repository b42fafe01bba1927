"""No line of the programs can make code of a file: their syntax trees are searched for every call that could."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("openmix", "tools", "scripts")
# the one reader of pickles, which looks up nothing but stand-ins of its own (tests/data/test_pickles.py)
UNPICKLES = "openmix/data/sources/pickles.py"

UNPICKLERS = {"load", "loads", "Unpickler", "_Unpickler", "_load", "_loads"}
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
YAML_LOADS = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
SAFE_YAML = {"SafeLoader", "CSafeLoader", "PlainLoader"}
RUNS = {
    "eval", "exec", "__import__", "os.system", "os.popen", "os.execv", "os.execvp", "os.execve", "os.spawnv",
    "subprocess.getoutput", "subprocess.getstatusoutput", "runpy.run_path", "runpy.run_module", "code.interact",
    "torch.hub.load", "builtins.eval", "builtins.exec", "importlib.util.spec_from_file_location",
}  # fmt: skip
MMENGINE = {  # each of them unpickles, or executes text
    "mmengine.fileio.load", "mmengine.load", "mmengine.runner.load_checkpoint", "mmengine.runner._load_checkpoint",
    "mmengine.runner.checkpoint.load_checkpoint", "mmengine.runner.checkpoint._load_checkpoint",
    "mmengine.runner.load_state_dict_from_url", "mmengine.fileio.PickleHandler", "mmengine.hub.get_model",
}  # fmt: skip


def findings(source: str, file: str = "x.py") -> list[str]:
    """Return every place in a source that could make code of a file, as ``FILE:LINE what``."""
    tree = ast.parse(source)
    names = dict(_imports(tree))
    return [
        f"{file}:{getattr(node, 'lineno', 1)} {what}" for node in ast.walk(tree) if (what := _wrong(node, names, file))
    ]


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield what each imported name stands for, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full(node: ast.AST, names: dict[str, str]) -> str:
    """Return the dotted name of an expression, imports resolved; '' where it has none."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (before := _full(node.value, names)):
        return f"{before}.{node.attr}"
    return ""


def _wrong(node: ast.AST, names: dict[str, str], file: str) -> str:
    if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
        return _wrong_name(_full(node, names), file)
    if isinstance(node, ast.ImportFrom) and node.module:
        return next((w for a in node.names if (w := _wrong_name(f"{node.module}.{a.name}", file))), "")
    return _wrong_call(node, names) if isinstance(node, ast.Call) else ""


def _wrong_name(full: str, file: str) -> str:
    """Judge what no argument makes safe; naming it is enough, for it can be called by another name."""
    module, _, last = full.rpartition(".")
    if full in RUNS or full in MMENGINE or (last == "fromstring" and module.endswith("Config")):
        return full
    if module in PICKLES and last in UNPICKLERS and file != UNPICKLES:
        return full
    if module == "yaml" and last in {"Loader", "UnsafeLoader", "FullLoader", "CLoader", "unsafe_load", "full_load"}:
        return full
    return ""


def _wrong_call(node: ast.Call, names: dict[str, str]) -> str:
    """Judge calls by their arguments."""
    full = _full(node.func, names)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    module, _, last = full.rpartition(".")
    if full in ("torch.load", "torch.serialization.load") and not _is(given.get("weights_only"), True):
        return f"{full} without weights_only=True"
    if module == "yaml" and last in YAML_LOADS:
        loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
        if loader is None or _full(loader, names).rpartition(".")[2] not in SAFE_YAML:
            return f"{full} without a SafeLoader"
    if full in ("numpy.load", "numpy.lib.npyio.NpzFile") or last in ("read_array", "fromregex"):
        positional = len(node.args) > 2
        if positional or not _is(given.get("allow_pickle", ast.Constant(False)), False) or None in given:
            return f"{full} with allow_pickle"
    if module == "subprocess" and not _is(given.get("shell", ast.Constant(False)), False):
        return f"{full} with shell=True"
    return ""


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def python_files() -> list[Path]:
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_programs():
    files = python_files()
    assert len(files) > 100
    found = [f for path in files for f in findings(path.read_text(), str(path.relative_to(ROOT)))]
    assert found == []


def test_shell_scripts_evaluate_nothing():
    scripts = [p for folder in ("tools", "scripts") for p in sorted((ROOT / folder).rglob("*.sh"))]
    assert scripts
    for path in scripts:
        lines = path.read_text().splitlines()
        assert not [line for line in lines if line.split("#")[0].strip().startswith(("eval ", "source <("))], path


@pytest.mark.parametrize(
    "bad",
    [
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import torch\ntorch.load(p, weights_only=safe)",
        "import torch\ntorch.load(p, **options)",
        "import torch as t\nt.load(p)",
        "from torch import load\nload(p)",
        "from torch.serialization import load as read\nread(p)",
        "import pickle\npickle.load(f)",
        "import pickle\nread = pickle.loads",
        "import pickle\nclass P(pickle.Unpickler): pass",
        "from pickle import loads",
        "import dill as d\nd.load(f)",
        "import marshal\nmarshal.loads(b)",
        "import yaml\nyaml.load(f)",
        "import yaml\nyaml.load(f, yaml.Loader)",
        "import yaml\nyaml.load(f, Loader=yaml.UnsafeLoader)",
        "import yaml\nyaml.unsafe_load(f)",
        "from yaml import load, FullLoader\nload(f, FullLoader)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import numpy as np\nnp.load(p, None, True)",
        "import numpy as np\nnp.load(p, allow_pickle=trusted)",
        "eval(text)",
        "exec(text)",
        "run = eval",
        "__import__(name)",
        "import os\nos.system(c)",
        "from os import system\nsystem(c)",
        "import os\nos.popen(c)",
        "import subprocess\nsubprocess.run(c, shell=True)",
        "from subprocess import Popen\nPopen(c, shell=yes)",
        "from mmengine.config import Config\nConfig.fromstring(t, '.py')",
        "from mmengine import Config\nread = Config.fromstring",
        "import mmengine\nmmengine.load(p)",
        "from mmengine.fileio import load",
        "import mmengine.fileio as io\nio.load(p)",
        "from mmengine.runner import load_checkpoint",
        "from mmengine.runner.checkpoint import _load_checkpoint",
        "def f():\n    from os import system as s\n    s(c)",
    ],
)
def test_the_search_finds(bad):
    assert findings(bad)


@pytest.mark.parametrize(
    "good",
    [
        "import torch\ntorch.load(p, map_location='cpu', weights_only=True)",
        "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)\nyaml.safe_load(f)",
        "import json\njson.load(f)",
        "import numpy as np\nnp.load(p)\nnp.load(p, mmap_mode='r', allow_pickle=False)",
        "import subprocess\nsubprocess.run(['ls'], check=True)",
        "model.eval()\nself.load(p)\nloader.load(p)",
        "import pickle\npickle.dumps(x)",
        "from mmengine.config import Config\nConfig.fromfile(p, lazy_import=False)",
    ],
)
def test_and_finds_nothing_else(good):
    assert findings(good) == []


def test_the_one_reader_of_pickles_is_named_exactly():
    source = (ROOT / UNPICKLES).read_text()
    assert findings(source, UNPICKLES) == []
    assert findings(source, "openmix/data/sources/other.py")
