"""What learned mixing costs and what its masks become: AutoMix, SAMix, AdAutoMix on one thread of a CPU.

cost: whole training steps of ResNet-18 (32 pixels), interleaved, beside plain mixup on the same network, and beside
AutoMix with the authors' four whole passes; and the most memory that a process of its own takes for such steps.
masks: a small network trained on real CIFAR-10: the losses over the first 300 steps and at the end, what the masks'
means are for lambdas from 0.1 to 0.9, and what the student says of the first 2000 test images. lambda_off is the
largest difference of lambda and the mean of its masks, over these lambdas, in training mode.
Run: python benchmarks/learned_mixing.py {cost,masks} [--out docs/benchmarks/learned_mixing_WHICH.json]
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import device_facts, interleaved, write_report
from rich.progress import track
from torch import Tensor

from openmix.data import SOURCES
from openmix.data.batch import Batch
from openmix.models import ClsMixupHead, ConvNet, PixelMixBlock, ResNet_CIFAR
from openmix.ops.random import generator_for, sample_sources
from openmix.tasks import (
    AdAutoMixClassification,
    AutoMixClassification,
    Classification,
    MixUpClassification,
    SAMixClassification,
    StepContext,
)
from openmix.tasks.learned import Draw, LearnedMixing

STEPS, BATCH, IMAGES = 1500, 100, 16


class FourPasses(AutoMixClassification):
    """AutoMix as its authors compute it: the clean pass to its end, both masks with a gradient."""

    def features(self, images: Tensor) -> Tensor:
        return self.teacher["backbone"](images)[self.stages - 1].detach()

    def _for_student(self, batch: Batch, features: Tensor, draw: Draw, other: Draw, adjusting: bool) -> Any:
        with torch.enable_grad():
            size = (batch.images.shape[2], batch.images.shape[3])
            shares = self.shares(features, draw, size).clone().detach()
        return draw.mixed(batch.images, batch.labels, shares)


COSTS: dict[str, type[Classification]] = {
    "mixup": MixUpClassification,
    "AutoMix": AutoMixClassification,
    "AutoMix, four whole passes": FourPasses,
    "SAMix": SAMixClassification,
    "AdAutoMix": AdAutoMixClassification,
}
MASKS: dict[str, Callable[..., LearnedMixing]] = {
    "AutoMix": AutoMixClassification,
    "AutoMix, no lambda (CIFAR)": lambda net, head: AutoMixClassification(
        net, head, PixelMixBlock(net.out_channels[-2], lam_concat=False)
    ),
    "AutoMix, preset openmixup": lambda net, head: AutoMixClassification(net, head, preset="openmixup"),
    "SAMix": SAMixClassification,
    "SAMix, preset openmixup": lambda net, head: SAMixClassification(net, head, preset="openmixup"),
    "AdAutoMix": AdAutoMixClassification,
}


class Steps:
    """Training steps of a method on random images of CIFAR's size."""

    def __init__(self, method: str) -> None:
        torch.manual_seed(0)
        net = ResNet_CIFAR(18)
        self.task = COSTS[method](net, ClsMixupHead(10, net.out_channels[-1]))
        self.optimizer = torch.optim.SGD(list(self.task.parameter_groups()), lr=0.01, momentum=0.9)
        self.batch = Batch((torch.randn(IMAGES, 3, 32, 32),), torch.arange(IMAGES) % 10, torch.arange(IMAGES))
        self.done = 0

    def __call__(self) -> None:
        context = StepContext(0, 0, self.done, 0, 0.5)
        self.task(self.batch, context)["loss"].backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.task.after_step(context)
        self.done += 1


def peak_of(method: str) -> None:
    """Print how much memory some steps take beyond what the process has before it builds anything."""
    before = most_memory()
    steps = Steps(method)
    for _ in range(3):
        steps()
    print(most_memory() - before)


def most_memory() -> float:
    """Return the most megabytes that this program has held; getrusage would count those of who started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def costs(rounds: int) -> list[dict[str, Any]]:
    """Time two steps of each at a time: every other one of AdAutoMix is adversarial."""
    candidates = {name: Steps(name) for name in COSTS}
    rows = interleaved({name: lambda s=s: (s(), s()) for name, s in candidates.items()}, rounds)
    for row in rows:
        row["ratio"] = row["median_s"] / rows[0]["median_s"]
        row["step_s"] = row["median_s"] / 2
        command = [sys.executable, __file__, "peak", "--method", row["name"]]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(3)]
        row["megabytes"] = statistics.median(float(run.stdout) for run in runs)
    return rows


class Images:
    """CIFAR-10, normalised; a training batch is a function of its number."""

    def __init__(self, root: str) -> None:
        self.sets = {
            split: SOURCES["CIFAR10"](data_root=root, split=split, download=False) for split in ("train", "test")
        }
        self.mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1) * 255
        self.std = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1) * 255

    def normalised(self, split: str, which: Tensor) -> Batch:
        source = self.sets[split]
        images = (source.images[which].float() - self.mean) / self.std
        return Batch((images,), source.labels[which], which)

    def batch(self, number: int) -> Batch:
        draws = generator_for(0, "batch", number)
        batch = self.normalised("train", torch.randint(50000, (BATCH,), generator=draws))
        flipped = torch.rand(BATCH, 1, 1, 1, generator=draws) < 0.5
        return Batch((torch.where(flipped, batch.images.flip(3), batch.images),), batch.labels, batch.index)


@torch.no_grad()
def mask_means(task: LearnedMixing, images: Images) -> list[float]:
    """Return the mean own share for lambda 0.1 .. 0.9, the rest of it in equal parts where there are more sources."""
    k = getattr(task, "mix_samples", 2)
    batch = images.normalised("train", torch.arange(BATCH))
    features, sources = task.features(batch.images), sample_sources(BATCH, k, torch.Generator().manual_seed(0))
    means = []
    for tenth in range(1, 10):
        own = tenth / 10
        draw = Draw(sources, torch.tensor([[own, *[(1 - own) / (k - 1)] * (k - 1)]]))
        means.append(task.shares(features, draw, (32, 32))[:, 0].mean().item())
    return means


def trained(method: str, images: Images) -> dict[str, Any]:
    torch.manual_seed(0)
    net = ConvNet((16, 32, 64))
    task = MASKS[method](net, ClsMixupHead(10, 64)).train()
    optimizer = torch.optim.SGD(list(task.parameter_groups()), lr=0.1, momentum=0.9, weight_decay=1e-4)
    history: dict[str, list[float]] = {}
    for step in track(range(STEPS), method):
        context = StepContext(0, step // 500, step, 0, step / STEPS)
        report = task(images.batch(step), context)
        report["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(context)
        for name, value in report.items():
            history.setdefault(name, []).append(value.item())
    means = mask_means(task, images)
    test = images.normalised("test", torch.arange(2000))
    with torch.no_grad():
        top1 = (task.eval().predict(test.images).argmax(1) == test.labels).float().mean().item() * 100

    def over(name: str) -> str:
        values = history.get(name)
        spans = ((0, 50), (250, 300), (STEPS - 50, STEPS))
        return "" if values is None else " ".join(f"{statistics.mean(values[a:b]):.3f}" for a, b in spans)

    return {
        "name": method,
        **{name: over(name) for name in ("loss_mix_q", "loss_one_q", "loss_mix_k", "loss_mask", "mask_gap")},
        "means": " ".join(f"{mean:.2f}" for mean in means),
        "lambda_off": max(abs(mean - (i + 1) / 10) for i, mean in enumerate(means)),
        "top1": top1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("which", choices=("cost", "masks", "peak"))
    parser.add_argument("--method", help="of 'peak', which is for this program's own use")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data-root", default="data/cifar10")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.which == "peak":
        peak_of(arguments.method)
        return
    out = arguments.out or Path(f"docs/benchmarks/learned_mixing_{arguments.which}.json")
    if arguments.which == "cost":
        columns = {
            "method": "name",
            "step (ms)": ("step_s", 1e3, ".0f"),
            "x mixup": ("ratio", 1, ".2f"),
            "memory (MB)": ("megabytes", 1, ".0f"),
        }
        facts = {**device_facts(), "network": "ResNet_CIFAR 18", "batch": IMAGES, "rounds": arguments.rounds}
        write_report(out, "What a step of learned mixing costs", facts, costs(arguments.rounds), columns)
        return
    spans = f"means of steps 1-50, 251-300, {STEPS - 49}-{STEPS}"
    columns = {
        "method": "name",
        "student, mixed": "loss_mix_q",
        "student, clean": "loss_one_q",
        "momentum encoder, mixed": "loss_mix_k",
        "mask loss": "loss_mask",
        "gap": "mask_gap",
        "mask means for lambda 0.1 .. 0.9": "means",
        "lambda_off": ("lambda_off", 1, ".3f"),
        "top-1 (%)": ("top1", 1, ".1f"),
    }
    images = Images(arguments.data_root)
    facts = {
        **device_facts(),
        "network": "ConvNet 16-32-64",
        "batch": BATCH,
        "steps": STEPS,
        "seed": 0,
        "losses": spans,
    }
    rows = []
    for method in MASKS:
        rows.append(trained(method, images))
        write_report(out, "What the masks of learned mixing become", facts, rows, columns)


if __name__ == "__main__":
    main()
