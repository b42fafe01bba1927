"""Configs and options that nobody would write, thousands of them: each ends in one message or a run, and harms nothing.

Every case starts from a run that is there. Where the config is refused, the run is afterwards byte for byte what it
was; whatever the config says, it is never executed, and nothing takes longer than a few seconds.
"""

import contextlib
import copy
import hashlib
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from openmix.commands import run_command
from openmix.engine.trainer import Trainer
from tests.conftest import TINY

SECONDS = 10
STEPS = 2

# a few keys more than TINY has, so that there is more to go wrong
RICH: dict[str, Any] = {
    "randomness": {"seed": 3},
    "optim_wrapper": {
        "optimizer": {"type": "AdamW", "lr": 0.001, "weight_decay": 0.05},
        "clip_grad": {"max_norm": 1.0},
        "paramwise_cfg": {"norm_decay_mult": 0.0, "custom_keys": {"head": {"lr_mult": 0.5}}},
    },
    "param_scheduler": [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 2},
        {"type": "CosineAnnealingLR", "by_epoch": True, "begin": 0, "eta_min": 1e-5},
    ],
    "custom_hooks": [{"type": "EMAHook", "momentum": 0.01, "priority": "ABOVE_NORMAL"}],
    "default_hooks": {"logger": {"interval": 1}, "checkpoint": {"interval": 1, "save_best": "top1"}},
    "vis_backends": [{"type": "TensorboardVisBackend"}],
}
MODELS: list[dict[str, Any]] = [
    {"type": "Classification", "backbone": {"type": "ConvNet", "widths": [4], "in_channels": 1},
     "head": {"type": "ClsHead", "num_classes": 10}},
    {"type": "MixUpClassification", "alpha": [0.2, 1], "mix_mode": ["mixup", "resizemix"], "mix_prob": [0.5, 0.5],
     "mix_args": {"mixup": {"per_sample": True}}, "mix_repeat": 1,
     "backbone": {"type": "TimmBackbone", "name": "test_resnet", "in_channels": 1, "model_args": {"stem_type": ""}},
     "head": {"type": "ClsMixupHead", "num_classes": 10, "loss": {"type": "MixCrossEntropy"}}},
]  # fmt: skip


def code(canary: Path) -> list[str]:
    """Return texts that touch a file where anything executes them."""
    touch = f"touch {canary}"
    return [
        f"__import__('os').system('{touch}')", f"$({touch})", f"`{touch}`", f"; {touch} #", f"| {touch}",
        f"{{{{ __import__('os').system('{touch}') }}}}", f"%(__import__('os').system('{touch}'))s",
        f"!!python/object/apply:os.system ['{touch}']", f"lambda: __import__('os').system('{touch}')",
        f"{{__import__('os').system('{touch}')}}", f"open('{canary}', 'w')",
    ]  # fmt: skip


TYPES = (
    "os.system", "builtins.exec", "subprocess.call", "subprocess.Popen", "mmcv.os.system", "antigravity", "Compose",
    "torch.load", "mmengine.fileio.load", "MmcvTransform", "mmcv.RandomFlip", "SGD", "ConvNet", "convnet", "Nothing",
    "",
    "a.b.c.d", "::", "EMAHook", "LBFGS", "Synthetic", "TorchLoader", "PhasedLoader", "WandbVisBackend",
)  # fmt: skip
ODD = (
    None, True, False, 0, -1, 1, 2, 7, 0.5, -0.5, 1e-320, 1e308, float("nan"), float("inf"), float("-inf"), "", "x",
    "1",
    "None", "../..", "/", "é√\u202e\U0001f600", "\x00", "a" * 10_000, [], {}, [None], [[]], {"type": None}, {"": ""},
    (),
    10**9, 10**10, 10**12, 10**30, -(10**12), [10**9], [10**12, 10**12], {"a": {"b": {"c": [1, {"d": None}]}}},
    [[[[[[[[[[1]]]]]]]]]], {"type": "Nothing"}, {"type": "os.system", "command": "true"}, 1e9, [0.0], [-1, -1],
)  # fmt: skip
NAMES = (
    "x",
    "type",
    "tpye",
    "_delete_",
    "_base_",
    "_scope_",
    "self",
    "__class__",
    "0",
    "",
    "a.b",
    "model",
    "Ω",
    "seed",
)


def sites(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the places of a nested config, as paths of keys and numbers."""
    below: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return [at, *(site for key, part in below for site in sites(part, (*at, key)))]


def mutate(cfg: dict[str, Any], draw: Callable[..., Any], texts: list[str]) -> None:
    """Change one place of a config: its value, its key, or that it is there at all."""
    path = draw(st.sampled_from(sites(cfg)[1:]))
    parent = cfg
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    kind = draw(st.sampled_from(["value", "value", "value", "type", "code", "drop", "rename", "add", "double", "name"]))
    if kind == "value":
        parent[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    elif kind == "code":
        parent[key] = draw(st.sampled_from(texts))
    elif kind == "type" and isinstance(parent, dict):
        parent["type"] = draw(st.sampled_from([*TYPES, *texts]))
    elif kind == "drop":
        del parent[key]
    elif kind == "rename" and isinstance(parent, dict):
        parent[draw(st.sampled_from(NAMES))] = parent.pop(key)
    elif kind == "double":
        twin = copy.deepcopy(parent[key])
        parent[key] = [twin, twin]
    elif kind == "add" and isinstance(parent, dict):
        parent[draw(st.sampled_from([*NAMES, *texts]))] = copy.deepcopy(draw(st.sampled_from(ODD)))
    else:
        parent[key] = {"type": draw(st.sampled_from(TYPES)), "command": draw(st.sampled_from(texts))}


@st.composite
def configs(draw: Any, tiny: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """Yield a small config with one to three changes."""
    cfg = copy.deepcopy(tiny)
    if draw(st.booleans()):
        cfg |= copy.deepcopy(RICH)
    cfg["model"] = copy.deepcopy(draw(st.sampled_from([cfg["model"], *MODELS])))
    cfg["train_dataloader"]["type"] = draw(st.sampled_from(["ResidentLoader", "TorchLoader"]))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        mutate(cfg, draw, texts)
    return cfg


def as_python(cfg: dict[str, Any]) -> str:
    """Return a config as Python text, with names that could not be one left out; the file itself is code by design."""
    lines = (f"{key} = {value!r}\n" for key, value in cfg.items() if key.isidentifier() and not key.startswith("_"))
    return "inf, nan = float('inf'), float('nan')\n" + "".join(lines) + "del inf, nan\n"


class Case:
    """A work dir with a run in it, a canary, and what has to hold after every command."""

    def __init__(self, folder: Path, tiny: dict[str, Any]) -> None:
        self.folder, self.work_dir, self.canary = folder, folder / "run", folder / "canary"
        self.tiny = tiny
        self.texts = code(self.canary)
        self.good = folder / "good.py"
        self.good.write_text(as_python(tiny))
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            assert run_command("train", [str(self.good), "--work-dir", str(self.work_dir)]) == 0
        self.before = self.content()
        shutil.copytree(self.work_dir, folder / "kept")

    def content(self) -> dict[str, str]:
        """Return a digest of every file of the run."""
        files = sorted(p for p in self.work_dir.rglob("*") if p.is_file())
        return {str(p.relative_to(self.folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    def run(self, command: str, arguments: list[str]) -> int:
        """Run a command and assert all that is promised of it; return its exit code."""
        start, out, err = time.monotonic(), io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = run_command(command, arguments)
        except SystemExit as stop:  # argparse
            status = stop.code
        said = out.getvalue() + err.getvalue()
        described = f"exit code {status} of openmix {command} {arguments}:\n{said}"
        assert time.monotonic() - start < SECONDS, described
        assert not self.canary.exists(), described
        assert status in (0, 2) or (status == 1 and "finite" in said), described
        assert "Traceback" not in said and "the check failed:" not in said, described
        if status == 2:
            assert said.strip(), described
            assert self.content() == self.before, described
        elif command == "train":
            shutil.rmtree(self.work_dir)
            shutil.copytree(self.folder / "kept", self.work_dir)
        return status


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    original = Trainer.__init__

    def few_steps(trainer: Trainer, *arguments: Any, **named: Any) -> None:
        original(trainer, *arguments, **named)
        trainer.max_iters = min(trainer.max_iters, STEPS)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Trainer, "__init__", few_steps)
        yield Case(folder, TINY)


def cases(number: int) -> Callable[..., Any]:
    """Return the settings of so many cases, the same ones every time."""
    return settings(
        max_examples=number, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def command_for(data: Any, case: Case, path: Path, *options: str) -> int:
    """Train by a config, or try it out."""
    if data.draw(st.booleans()):
        return case.run("train", [str(path), "--work-dir", str(case.work_dir), *options])
    return case.run("check", [str(path), "--dry-run"])


def try_config(data: Any, case: Case) -> int:
    cfg = data.draw(configs(case.tiny, case.texts))
    kind = data.draw(st.sampled_from([".py", ".yaml", ".json"]))
    path = case.folder / f"case{kind}"
    path.write_text({".py": as_python, ".yaml": yaml.dump, ".json": json.dumps}[kind](cfg), encoding="utf-8")
    return command_for(data, case, path)


def try_bytes(data: Any, case: Case) -> int:
    """Try a text that has been damaged, or that somebody has made to look like something else."""
    kind = data.draw(st.sampled_from([".yaml", ".json"]))
    text = bytearray((yaml.dump if kind == ".yaml" else json.dumps)(case.tiny).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place, length = data.draw(st.integers(0, len(text) - 1)), data.draw(st.sampled_from([0, 1, 1, 2, 40]))
        text[place : place + length] = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([t.encode() for t in (*case.texts, *PIECES)]))
        )
    path = case.folder / f"bytes{kind}"
    path.write_bytes(text)
    return command_for(data, case, path)


PIECES = (
    "!!python/name:os.system", "!!python/module:os ", "!!python/object/new:os.system ['true']", "&a [*a]", "*b",
    "<<: *c",
    "{{ fileDirname }}", "{{$HOME:x}}", "{{_base_.model}}", "---\n", "_base_: /etc/passwd\n", '"_base_": "good.py", ',
    "custom_imports: {imports: [antigravity]}\n", '"custom_imports": {"imports": ["antigravity"]}, ', "\t", "? ",
    "[" * 3000,
    "!!binary x", "!!timestamp 2000-01-01", "!!set {a}", "0x1F", "1_000", "..", "NaN", "1e999", "9" * 5000, "\ufeff",
    "\x00",
)  # fmt: skip
OPTIONS = (
    "model.backbone.type=os.system", "a.b.c=1", "=", "x==y", "=x", "model=", "train_cfg={}", "train_cfg=[]",
    "model=[((]",
    "model.backbone.widths=[4,[8]", "model.backbone.widths=(4,(8,(9,)))", "train_cfg.max_epochs=1e9", "..=1",
    "a..b=1", ".=1",
    "model.backbone.widths.0=3", "model.backbone.widths.9=3", "model.mix_mode.0=cutmix", "model.mix_mode.x=cutmix",
    "é=√",
    "model.head.num_classes=10000000000", "train_dataloader.batch_size=1000000000000", "work_dir=/proc/nowhere",
    "resume=1",
    "load_from=/etc/passwd", "load_from=/dev/zero", "custom_imports.imports=[antigravity]", "filename=x", "text=x",
    "x" * 5000,
    "optim_wrapper.optimizer.lr=nan", "optim_wrapper.optimizer.lr=-inf", "randomness.seed=-1",
    "randomness.seed=1e400", "",
    "randomness.seed=99999999999999999999999", "custom_hooks.0.type=os.system", "vis_backends=[os.system]",
    "model.type=",
    "_delete_=True", "model._delete_=True", "model.backbone._delete_=True", "train_dataloader=None",
    "val_dataloader=None",
)  # fmt: skip


def try_options(data: Any, case: Case) -> int:
    keys = [".".join(map(str, site)) for site in sites(case.tiny)[1:]]
    value = st.one_of(
        st.sampled_from([repr(odd) for odd in ODD]), st.sampled_from([*case.texts, *TYPES]), st.text(max_size=12)
    )
    odd = st.one_of(
        st.sampled_from(OPTIONS), st.builds("{}={}".format, st.sampled_from(keys), value), st.text(max_size=20)
    )
    options = data.draw(st.lists(odd, min_size=1, max_size=3))
    arguments = [str(case.good), "--work-dir", str(case.work_dir), "--cfg-options", *options]
    return case.run("train", arguments)


@pytest.mark.filterwarnings("ignore")
class TestFuzz:
    """Some 60 of all kinds, and 2,000 in the long tier."""

    @pytest.mark.parametrize(
        "attempt, number",
        [
            (try_config, 30), (try_bytes, 12), (try_options, 20),
            *(pytest.param(attempt, number, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
              for attempt, number in ((try_config, 1200), (try_bytes, 300), (try_options, 500))),
        ],
    )  # fmt: skip
    def test_refused_or_run(self, case, attempt, number):
        codes: Counter[int] = Counter()

        @cases(number)
        @given(st.data())
        def attempts(data):
            codes[attempt(data, case)] += 1

        attempts()
        assert sum(codes.values()) >= number * 0.9, codes
        # most have to be refused; of many, some are right in spite of what was done to them
        assert codes[2] > number / 2 and (codes[0] > 0 or number < 100), codes
