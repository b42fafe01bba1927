"""Draws docs/automix.jpg: masks of AutoMix and SAMix for the same pairs, while a small network trains on CIFAR-10.

Run: python docs/make_automix.py --data-root data/cifar10 [--steps 1500]
"""

import argparse
from pathlib import Path

import matplotlib
import torch
from rich.progress import track

from openmix.data import SOURCES
from openmix.data.batch import Batch
from openmix.models import ClsMixupHead, ConvNet
from openmix.ops.random import generator_for
from openmix.tasks import AutoMixClassification, SAMixClassification, StepContext
from openmix.tasks.learned import Draw

matplotlib.use("Agg")
from matplotlib import pyplot

PAIRS, LAMBDAS = 4, (0.3, 0.5, 0.7)


def main() -> None:
    """Train both, and draw what their masks are at three moments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-root", default="data/cifar10")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("automix.jpg"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = SOURCES["CIFAR10"](data_root=arguments.data_root, split="train", download=False)
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2023, 0.1994, 0.2010]).view(3, 1, 1)

    def batch_of(which: torch.Tensor) -> Batch:
        images = (source.images[which].float() / 255 - mean) / std
        return Batch((images,), source.labels[which], which)

    shown = batch_of(torch.arange(100))
    moments = [0, arguments.steps // 5, arguments.steps]
    columns: list[tuple[str, torch.Tensor, torch.Tensor | None]] = [("image", shown.images, None)]
    sources = torch.stack([torch.arange(100), torch.arange(100).roll(-1)], dim=1)
    columns.append(("partner", shown.images[sources[:, 1]], None))
    for kind in (AutoMixClassification, SAMixClassification):
        torch.manual_seed(0)
        task = kind(ConvNet((16, 32, 64)), ClsMixupHead(10, 64)).train()
        optimizer = torch.optim.SGD(list(task.parameter_groups()), lr=0.1, momentum=0.9, weight_decay=1e-4)
        for step in track(range(arguments.steps + 1), kind.__name__):
            if step in moments:
                for lam in LAMBDAS if step == arguments.steps else (0.5,):
                    with torch.no_grad():
                        draw = Draw(sources, torch.tensor([[lam, 1 - lam]]))
                        shares = task.shares(task.features(shown.images), draw, (32, 32))
                        mixed = draw.mixed(shown.images, shown.labels, shares).images
                    name = f"{kind.__name__.removesuffix('Classification')}\nstep {step}, λ = {lam}"
                    columns.append((name, mixed, shares[:, 0]))
            context = StepContext(0, 0, step, 0, min(step / arguments.steps, 1.0))
            which = torch.randint(50000, (100,), generator=generator_for(0, "batch", step))
            task(batch_of(which), context)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
            task.after_step(context)

    figure, axes = pyplot.subplots(2 * PAIRS, len(columns), figsize=(1.25 * len(columns), 2.5 * PAIRS))
    for column, (name, images, masks) in enumerate(columns):
        for pair in range(PAIRS):
            above, below = axes[2 * pair, column], axes[2 * pair + 1, column]
            above.imshow((images[3 * pair + 10] * std + mean).clamp(0, 1).permute(1, 2, 0))
            if masks is not None:
                below.imshow(masks[3 * pair + 10], cmap="gray", vmin=0, vmax=1)
            above.axis("off")
            below.axis("off")
        axes[0, column].set_title(name, fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(arguments.out, dpi=110, pil_kwargs={"quality": 88})


if __name__ == "__main__":
    main()
