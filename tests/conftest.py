"""What the tests of training share: a run that takes a fraction of a second, several processes, readers of results."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

# a run's numbers depend on its threads: the processes that tests start have one each, and so has this one
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

RANKS = Path(__file__).parent / "ranks.py"

# 6 steps an epoch, 12 in all; neither set divides into whole batches
TINY: dict[str, Any] = {
    "data_preprocessor": {"mean": [0.5], "std": [0.25]},
    "train_dataloader": {
        "type": "ResidentLoader",
        "batch_size": 8,
        "dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52},
        "pipeline": [{"type": "RandomCrop", "size": 8, "padding": 1}, {"type": "RandomHorizontalFlip"}],
    },
    "val_dataloader": {
        "type": "ResidentLoader",
        "batch_size": 7,
        "dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 30},
    },
    "model": {
        "type": "MixUpClassification",
        "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
        "head": {"type": "ClsMixupHead", "num_classes": 10},
        "mix_mode": ["mixup", "cutmix"],
    },
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
    "train_cfg": {"max_epochs": 2},
    "default_hooks": {"logger": {"interval": 4}},
}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as ``_base_`` does: dicts key by key, unless the change brings a type of its own."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        inherits = isinstance(value, Mapping) and isinstance(old, Mapping) and "type" not in value
        result[key] = merged(old, value) if inherits else value
    return result


class Lab:
    """Writes configs, runs them in this process or in several, and reads what they leave."""

    def write(self, folder: Path, name: str = "tiny", **changes: Any) -> str:
        """Write a config file and return its path."""
        path = folder / f"{name}.py"
        cfg = merged(TINY, changes)
        path.write_text('"""A run of a second."""\n' + "".join(f"{k} = {v!r}\n" for k, v in cfg.items()))
        return str(path)

    def load(self, path: str, work_dir: Path | str, **overrides: Any) -> Any:
        """Load a config for a work dir; ``overrides`` are keys with ``__`` for the dots."""
        from openmix.engine.config import load_config

        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        return load_config(path, {"work_dir": str(work_dir), **dotted})

    def train(
        self,
        path: str,
        work_dir: Path,
        resume: bool | str = False,
        stop_after: int | None = None,
        stop_signal: int = signal.SIGTERM,
        **overrides: Any,
    ) -> dict[str, Any] | None:
        """Train quietly and return the metrics; None where a signal after step ``stop_after`` stopped the run."""
        from openmix.engine.distributed import World
        from openmix.engine.run import train
        from openmix.engine.trainer import Stopped

        with signal_after(stop_after, stop_signal):
            try:
                return train(self.load(path, work_dir, **overrides), path, World(), resume, quiet=True)
            except Stopped:
                return None

    def state(self, work_dir: Path, name: str = "last.pth") -> dict[str, Any]:
        """Return a checkpoint's content but for its config, which names the work dir."""
        state = torch.load(work_dir / "checkpoints" / name, weights_only=True)
        state.pop("config")
        return state

    def records(self, work_dir: Path) -> list[dict[str, Any]]:
        """Return ``metrics.jsonl`` but for what depends on the clock."""
        lines = (work_dir / "metrics.jsonl").read_text().splitlines()
        return [{k: v for k, v in json.loads(x).items() if "time" not in k and "per_s" not in k} for x in lines]

    def assert_same_run(self, one: Path, other: Path) -> None:
        """Assert that two runs ended with equal checkpoints, tensor by tensor, and equal metrics."""
        assert differences(self.state(one), self.state(other)) == []
        assert self.records(one) == self.records(other)
        names = {path.name for path in (one / "checkpoints").iterdir()}
        assert {"last.pth", "best.pth", "manifest.json"} <= names

    differences = staticmethod(lambda one, other: differences(one, other))


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Return where two nested structures of tensors and plain values differ, bit for bit."""
    if type(one) is not type(other):
        return [f"{path}: {type(one).__name__} against {type(other).__name__}"]
    if isinstance(one, Mapping):
        keys = [f"{path}: {key!r} is in one only" for key in one.keys() ^ other.keys()]
        return keys + [
            d for key in one.keys() & other.keys() for d in differences(one[key], other[key], f"{path}/{key}")
        ]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{path}: lengths {len(one)} and {len(other)}"]
        return [d for i, (a, b) in enumerate(zip(one, other, strict=True)) for d in differences(a, b, f"{path}/{i}")]
    if isinstance(one, torch.Tensor):
        equal = one.dtype == other.dtype and torch.equal(one, other)
        return [] if equal else [f"{path}: tensors {tuple(one.shape)} differ"]
    return [] if one == other else [f"{path}: {one!r} against {other!r}"]


@contextlib.contextmanager
def signal_after(step: int | None, number: int) -> Iterator[None]:
    """Send this process a signal when it has done step ``step``, before it looks for one."""
    from openmix.engine.trainer import Trainer

    original = Trainer._after_iter

    def after_iter(trainer: Trainer, ends_epoch: bool) -> None:
        if trainer.iter == step:
            os.kill(os.getpid(), number)
        original(trainer, ends_epoch)

    with pytest.MonkeyPatch.context() as patch:
        if step is not None:
            patch.setattr(Trainer, "_after_iter", after_iter)
        yield


@pytest.fixture(scope="session")
def lab() -> Lab:
    """See :class:`Lab`."""
    return Lab()


class Ranks:
    """A process that has imported openmix and forks groups of processes which compute together over gloo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        self.server = subprocess.Popen([sys.executable, str(RANKS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, size: int, function: str, **arguments: Any) -> list[Any]:
        """Call a function of ``ranks.py`` on every one of ``size`` processes, and return what each returned."""
        assert self.server.stdin and self.server.stdout
        self.calls += 1
        folder = self.folder / str(self.calls)
        folder.mkdir()
        request = {"size": size, "function": function, "folder": str(folder), "arguments": arguments}
        self.server.stdin.write(json.dumps(request).encode() + b"\n")
        self.server.stdin.flush()
        codes = json.loads(self.server.stdout.readline())
        assert codes == [0] * size, f"exit codes {codes}"
        return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(size)]


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Any]]]:
    """See :class:`Ranks`."""
    ranks = Ranks(tmp_path_factory.mktemp("ranks"))
    yield ranks
    ranks.server.kill()  # closing its pipe would do, unless a process that was forked meanwhile holds it open
    with ranks.server:
        pass
