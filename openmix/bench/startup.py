"""How long a command takes to answer: ``openmix train --help``, and ``openmix train`` to the end of its first step.

Each time is that of a fresh process, from before it is started until it has ended.
"""

import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from openmix.bench import bare_start
from openmix.bench.measure import Estimate, estimate, ratios, take_turns
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import columns_of, fields_of, spelt
from openmix.errors import Reported

__all__ = ["run"]

HELP_SECONDS, TIMES = 1.0, 1.25
OPENMIX, BARE = "openmix train, to the end of the first step", "a bare script, likewise"
HELP, PYTHON, TORCH = "openmix train --help", "python -c pass", "python -c 'import torch'"
SAID = "the first step is done"
HEAVY = ("torch", "numpy", "mmengine")

CONFIG = """
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    head=dict(type="ClsMixupHead", num_classes=10),
    alpha=1.0,
    mix_mode="mixup",
)
data_preprocessor = dict(mean={mean}, std={std})
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=100,
    dataset=dict(type="CIFAR10", data_root={data!r}, split="train"),
    pipeline=[dict(type="RandomCrop", size=32, padding=4), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR10", data_root={data!r}, split="test")
)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)
train_cfg = dict(max_epochs=200)
vis_backends = [dict(type="TensorboardVisBackend")]
work_dir = {work_dir!r}
custom_imports = dict(imports=["openmix.bench.first_step"])
custom_hooks = [dict(type="FirstStep")]
"""


def run(options: Options) -> Section:
    """Let the processes take turns."""
    rounds, warmup = (2, 0) if options.quick else (11, 1)
    python = sys.executable
    options.say(f"{rounds + warmup} rounds of {HELP}")
    helps = take_turns(
        {
            HELP: process(python, "-m", "openmix", "train", "--help"),
            PYTHON: process(python, "-c", "pass"),
            TORCH: process(python, "-c", "import torch"),
        },
        rounds,
        warmup,
    )
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or random_cifar10(Path(folder), 1000 if options.quick else 10_000)
        options.say(f"{rounds + warmup} rounds of a training step from the command on")
        steps = take_turns(first_steps(Path(folder), data, options.device.type), rounds, warmup)
    return report(helps, steps, imported(python, "-m", "openmix", "train", "--help"), options)


def process(*command: str, says: str = "") -> Callable[[], str]:
    """Return what runs a command to its end and returns what it printed.

    Raises:
        Reported: when called, if the command fails or does not say what it is to say.
    """

    # as users have it: Python keeps what it has compiled, from the round that does not count on
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def call() -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        if done.returncode or says not in done.stdout:
            raise Reported(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    return call


def imported(*command: str) -> set[str]:
    """Return the packages that a Python command imports."""
    python, *arguments = command
    done = subprocess.run([python, "-X", "importtime", *arguments], capture_output=True, text=True, timeout=600)
    return {name.partition(".")[0] for name in re.findall(r"\|\s+([\w.]+)$", done.stderr, re.MULTILINE)}


def first_steps(folder: Path, data: Path, device: str) -> dict[str, Callable[[], str]]:
    """Return what trains one step in a fresh process, by openmix and by hand."""
    config = folder / "first_step.py"
    settings = {"mean": list(bare_start.MEAN), "std": list(bare_start.STD)}
    config.write_text(CONFIG.format(**settings, data=str(data.resolve()), work_dir=str(folder / "run")))
    return {
        OPENMIX: process(sys.executable, "-m", "openmix", "train", str(config), says=SAID),
        BARE: process(sys.executable, bare_start.__file__, str(data.resolve()), device, says=SAID),
    }


def random_cifar10(folder: Path, length: int) -> Path:
    """Write random images as the files of CIFAR-10, ``length`` in each, and return their folder's folder."""
    inner, generator = folder / "cifar-10-batches-py", np.random.default_rng(0)
    inner.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        data = generator.integers(0, 256, (length, 3072), dtype=np.uint8)
        content = {"data": data, "labels": generator.integers(0, 10, length).tolist()}
        (inner / name).write_bytes(pickle.dumps(content, protocol=2))
    (inner / "batches.meta").write_bytes(pickle.dumps({"label_names": [str(i) for i in range(10)]}, protocol=2))
    return folder


def report(
    helps: Mapping[str, Sequence[float]], steps: Mapping[str, Sequence[float]], packages: set[str], options: Options
) -> Section:
    """Return the section: seconds of each process, and how much longer openmix's first step takes to come."""
    seconds = {name: estimate(values) for name, values in {**helps, **steps}.items()}
    ratio = estimate(ratios(steps[OPENMIX], steps[BARE]))
    rows = [{"process": name, **fields_of("seconds", each)} for name, each in seconds.items()]
    rows = [{**row, **fields_of("ratio", ratio)} if row["process"] == OPENMIX else row for row in rows]
    return Section(
        "startup",
        "Start",
        "Seconds of a fresh process from before its start to its end, the files in the system's cache, and modules "
        "compiled, as Python keeps them unless it is told not to. The first step is "
        f"ResNet-18's on {options.device}, 100 images of "
        f"{'CIFAR-10' if options.data else 'random files in the form of CIFAR-10'} with "
        "MixUp; both sides have read the training and the validation set by then. The script uses torchvision's data "
        "set (without its MD5 sums), network and transforms and torch's DataLoader without workers. Ratios are medians "
        "of those within a round; from and to are the medians' 95 % intervals.",
        {
            "process": "process",
            **columns_of("seconds", "seconds", ".2f"),
            **columns_of("x the bare script", "ratio", ".2f"),
        },
        rows,
        bars(seconds[HELP], ratio, packages),
    )


def bars(help_seconds: Estimate, ratio: Estimate, packages: set[str]) -> list[Bar]:
    """Return what was to be shown."""
    heavy = [name for name in HEAVY if name in packages]
    return [
        Bar(
            f"{HELP} takes < {HELP_SECONDS:.0f} s",
            f"{spelt(help_seconds, '.2f')} s",
            help_seconds.median < HELP_SECONDS,
        ),
        Bar(f"{HELP} imports none of {', '.join(HEAVY)}", ", ".join(heavy) or "none", not heavy),
        Bar(
            f"the first step comes after <= {TIMES} x the bare script's time",
            spelt(ratio, ".2f"),
            ratio.median <= TIMES,
        ),
    ]
