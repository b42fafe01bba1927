"""``openmix check --static``: what passes is data, what is more is named by file and line, and nothing is executed."""

import itertools
from pathlib import Path

import pytest

from openmix.commands import run_command
from openmix.engine.config_files import read_config
from openmix.engine.static_config import read_static
from openmix.errors import UserError

ROOT = Path(__file__).parents[2]
# configs of this repository that are more than data, each with the reason
NEED_CODE: dict[str, str] = {}


def test_this_repositorys_configs_are_data():
    configs = sorted(path for path in (ROOT / "configs").rglob("*.py") if "_base_" not in path.parts)
    grids = {path for path in configs if path.parent.name == "grids"}
    assert len(configs) > 100 and grids
    needing = {}
    for path in configs:
        reading = read_static(path)
        assert reading.notes == [], path
        assert len(reading.files) > 1 or path in grids, path  # each config has bases
        if reading.code or reading.imports:
            needing[str(path.relative_to(ROOT))] = reading.code
    assert needing.keys() == NEED_CODE.keys(), needing


GOOD = {
    "docstring": '"""What it is."""\n',
    "literals": "a = 1\nb = -2.5\nc = 'x' 'y'\nd = None\ne = [1, (2, 3)]\nf = {'a': {1: 2}}\ng = True\n",
    "builders": "a = dict(type='X', b=dict(c=[1, 2]))\nb = list((1, 2))\nc = tuple([1])\n",
    "floats": "a = float('inf')\nb = -float('nan')\n",
    "names": "a = 3\nb = dict(x=a, y=[a])\nc = d = b\n",
    "arithmetic": "a = 0.1 * 256 / 512 + 2 ** 10 - 7 // 2 % 3\nroot = 'data' + '/x'\nb = a * 2\nc = root + '/y'\n",
}
BAD = {
    "import os": "an import: import os",
    "from os import system": "an import",
    "__import__('os').system('touch canary')": "a call of __import__('os').system",
    "a = exec": "'exec' is no name that this file has given",
    "a = dict(type=print)": "'print' is no name",
    "a = b": "'b' is no name",
    "a = open('x')": "a call of open",
    "a = dict(x=eval('1'))": "a call of eval",
    "a = 'x'.upper()": "a call of 'x'.upper",
    "a = ().__class__": "an attribute, ().__class__",
    "a = [x for x in ()]": "a comprehension",
    "a = f'{1}'": "an f-string",
    "a = lambda: 1": "a function",
    "def f(): pass": "a function",
    "class A: pass": "a class",
    "@print\ndef f(): pass": "a function",
    "if True:\n    a = 1": "a condition",
    "a = 1 if True else 2": "a condition",
    "for a in (): pass": "a loop",
    "with x: pass": "a with statement",
    "try:\n    a = 1\nfinally:\n    a = 2": "a try",
    "a = [1][0]": "an index",
    "a = dict()\na['x'] = 1": "changes something",
    "a, b = 1, 2": "changes something, or gives several names",
    "a = 1\na += 1": "code: a += 1",
    "a: int = 1": "code: a: int = 1",
    "a = {**{}}": "code: {**{}}",
    "a = {}\nb = dict(**a)": "code: **a",
    "a = [*()]": "an unpacking",
    "a = (b := 1)": "code: (b := 1)",
    "dict = 1": "dict is a name of Python's own",
    "__builtins__ = 1": "__builtins__ is a name of Python's own",
    "a = float(1, 2)": "is not float() of one literal",
    "a = float([])": "is not float() of one literal",
    "a = 'x' * 10 ** 10": "'x' * 10 ** 10 is no arithmetic of numbers",
    "a = [0] * 9": "[0] * 9 is no arithmetic of numbers",
    "a = 9 ** 9 ** 9": "may be a huge number",
    "a = 10 ** 30": "is too large",
    "a = 1 / 0": "cannot be computed: division by zero",
    "a = '%s' % 1": "no arithmetic of numbers",
    "a = 1 < 2": "code: 1 < 2",
    "assert True": "code: assert True",
    "del a": "a deletion",
    "global a": "code: global a",
    "custom_imports = dict(imports=['x'])": "custom_imports runs the modules that it names",
    "a = '{{ fileBasename }}'": "'{{' stands for text that is put in before the file is read",
    "# {{$X:y}}": "'{{' stands for text",
    "_base_ = 'pkg::x.py'": "_base_ 'pkg::x.py' lies in a package",
    "_base_ = ['x' + '.py']": "_base_ is to be given once, as a file's name or a list of such",
    "a = _base_ = []": "_base_ is to be given once",
    "_base_ = 'missing.py'": "missing.py, line 1: it cannot be read: no such file",
    "a = (": "it cannot be read: SyntaxError",
}


class TestPython:
    @pytest.mark.parametrize("name", GOOD)
    def test_data_pass_and_load(self, tmp_path, name):
        path = tmp_path / "x.py"
        path.write_text(GOOD[name])
        reading = read_static(path)
        assert (reading.code, reading.imports, reading.notes) == ([], [], [])
        read_config(str(path))  # it is a config, too

    @pytest.mark.parametrize("text", BAD)
    def test_code_is_named(self, tmp_path, monkeypatch, text):
        monkeypatch.chdir(tmp_path)
        Path("x.py").write_text("'''Fine.'''\n\n" + text + "\nz = 1\n")
        reading = read_static("x.py")
        found = reading.code + reading.imports
        assert len(found) == 1 and BAD[text] in found[0], found
        line = 3 + text.count("\n") * text.startswith(("a = dict()\n", "a = 1\na +", "a = {}\n", "@"))
        assert found[0].startswith(f"x.py, line {line}: ") or "missing.py" in text or "SyntaxError" in found[0]
        assert not Path("canary").exists()

    def test_each_place_is_told(self, tmp_path):
        (tmp_path / "x.py").write_text("import os\na = 1\nb = os.environ\nc = a\nd = open('x')\n")
        assert [found.split(", line ")[1][0] for found in read_static(tmp_path / "x.py").code] == ["1", "3", "5"]

    def test_a_name_after_its_value(self, tmp_path):
        """A string that is put together is followed: the sum of a sum may grow as well."""
        lines = ["a0 = 'x' * 1" if i < 0 else f"a{i} = a{i - 1} + a{i - 1}" for i in range(1, 40)]
        (tmp_path / "x.py").write_text("a0 = 'x'\n" + "\n".join(lines) + "\n")
        assert "is too large" in read_static(tmp_path / "x.py").code[0]


class TestBases:
    def test_they_are_followed(self, tmp_path, capsys):
        (tmp_path / "deep").mkdir()
        (tmp_path / "x.py").write_text("_base_ = ['deep/y.py']\n")
        (tmp_path / "deep/y.py").write_text("_base_ = '../z.yaml'\n")
        (tmp_path / "z.yaml").write_text("a: 1\nb: !!python/name:os.system\n")
        assert run_command("check", ["--static", str(tmp_path / "x.py")]) == 2
        out = capsys.readouterr().out
        assert "z.yaml, line 2: it cannot be read: ConstructorError" in out and "WRONG" in out
        (tmp_path / "z.yaml").write_text("a: 1\n")
        assert run_command("check", ["--static", str(tmp_path / "x.py")]) == 0
        assert "1 of 1 config files are data alone" in capsys.readouterr().out

    def test_outside_of_the_tree_is_named_and_followed(self, tmp_path, capsys):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/x.py").write_text("a = 1\n_base_ = '../y.py'\n")
        (tmp_path / "y.py").write_text("b = 1\n")
        assert run_command("check", ["--static", str(tmp_path / "mine")]) == 0
        assert "line 2: _base_ '../y.py' lies outside of" in capsys.readouterr().out
        (tmp_path / "y.py").write_text("import os\n")
        assert run_command("check", ["--static", str(tmp_path / "mine")]) == 2
        assert "y.py, line 1: an import: import os" in capsys.readouterr().out

    def test_circles_end(self, tmp_path):
        (tmp_path / "x.py").write_text("_base_ = './y.py'\n")
        (tmp_path / "y.py").write_text("_base_ = './x.py'\n")
        assert read_static(tmp_path / "x.py").code == []
        with pytest.raises(UserError, match="is based on itself"):
            read_config(str(tmp_path / "x.py"))

    def test_too_many_end(self, tmp_path):
        """Two of two of two ...: a few kilobytes that would be read a billion times."""
        for i, j in itertools.pairwise(range(31)):
            (tmp_path / f"{i}.py").write_text(f"_base_ = ['{j}.py', './{j}.py']\n")
        (tmp_path / "30.py").write_text("a = 1\n")
        with pytest.raises(UserError, match="is based on more than 200 files"):
            read_config(str(tmp_path / "0.py"))
        assert len(read_static(tmp_path / "0.py").files) == 31


class TestDataFiles:
    """YAML and JSON: read as data, and so must be what they are based on."""

    @pytest.mark.parametrize(
        "name, text, message",
        [
            ("x.yaml", "a: !!python/object/apply:os.system ['touch canary']", "ConstructorError"),
            ("x.yml", "a: !!python/object/new:os.system ['touch canary']", "ConstructorError"),
            ("x.yaml", "custom_imports: {imports: [canary_module]}", "line 1: custom_imports runs the modules"),
            ("x.json", '{"a": 1,\n"custom_imports": {"imports": ["canary_module"]}}', "line 2: custom_imports runs"),
            ("x.yaml", "_base_: ./code.py", "code.py, line 1: an import"),
            ("x.json", '{"_base_": ["./code.py"]}', "code.py, line 1: an import"),
            ("x.yaml", "_base_: ./deep.yaml", "code.py, line 1: an import"),
            ("x.yaml", "_base_: mmengine::x.py", "lies in a package"),
            ("x.yaml", "a: '{{ fileDirname }}'", "stands for text"),
            ("x.yaml", "[1, 2]", "a config is a mapping of names to values, not a list"),
            ("x.json", "[1, 2", "JSONDecodeError"),
            ("x.yaml", "_base_: {a: 1}", "_base_ is a file or a list of files"),
            ("x.yaml", "a: &a [*a]", "an alias of what is around it"),
            ("x.yaml", "a: &a [1]\n" + "".join(
                f"{n}: &{n} [*{m}, *{m}, *{m}, *{m}, *{m}, *{m}, *{m}, *{m}, *{m}]\n"
                for m, n in itertools.pairwise("abcdefghij")), "its aliases make it more than 100,000 values"),
        ],
    )  # fmt: skip
    def test_refused(self, tmp_path, monkeypatch, capsys, name, text, message):
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        Path("code.py").write_text("import os; os.system('touch canary')\n")
        Path("canary_module.py").write_text("open('canary', 'w')\n")
        Path("deep.yaml").write_text("_base_: ['./code.py']\n")
        Path(name).write_text(text)
        for command in (["check", "--static", name], ["check", name], ["train", name], ["test", name, "none.pth"]):
            assert run_command(command[0], command[1:]) == 2
            captured = capsys.readouterr()
            assert message in captured.out + captured.err and name in captured.out + captured.err
            assert not Path("canary").exists()
        assert run_command("convert", [name, "-o", "out.py"]) == 2
        assert not Path("canary").exists()

    def test_a_yaml_config_on_bases_of_data_trains(self, lab, tmp_path):
        lab.write(tmp_path)
        (tmp_path / "x.yaml").write_text("_base_: ./tiny.py\ntrain_cfg: {max_epochs: 1}\n")
        assert run_command("train", [str(tmp_path / "x.yaml"), "--work-dir", str(tmp_path / "run")]) == 0
        assert lab.state(tmp_path / "run")["step"] == 6


def test_static_and_dry_run_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as stop:
        run_command("check", ["--static", "--dry-run", "x.py"])
    assert stop.value.code == 2
