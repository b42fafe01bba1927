"""What a training step of openmix costs beyond a bare PyTorch loop that computes the same.

Both train the same small network on the same synthetic uint8 images in memory, batches of 100, with MixUp and SGD:
8 x 8 pixels and two channels, where almost all is Python, and 32 x 32 pixels. The bare loop indexes the images,
normalises, mixes with one lambda, and does forward, cross entropy, backward and step; it keeps no record, checks
nothing and draws from the global generator. Run: python benchmarks/step_overhead.py
"""

import argparse
import tempfile
from pathlib import Path

import torch
from common import device_facts, interleaved, write_report
from torch.nn import functional as F

from openmix.data import Shards, Synthetic
from openmix.data.loaders import ResidentLoader
from openmix.engine.distributed import World
from openmix.engine.log import Reporter, open_logger
from openmix.engine.signals import StopRequest
from openmix.engine.trainer import Trainer
from openmix.models import ClsMixupHead, ConvNet
from openmix.tasks import MixUpClassification

BATCH, STEPS = 100, 100


def network(widths: list[int]) -> MixUpClassification:
    torch.manual_seed(0)
    return MixUpClassification(ConvNet(widths), ClsMixupHead(10, widths[-1]))


def openmix_loop(widths: list[int], images: Synthetic, work_dir: str):
    world = World()
    logger, console = open_logger(None, world, quiet=True)
    cfg = {
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        "train_cfg": {"max_iters": 10**9},
        "default_hooks": {"logger": {"interval": 10**9}},
        "data_preprocessor": {"mean": [0.5], "std": [0.25]},
        "work_dir": work_dir,
    }
    reporter = Reporter(Path(work_dir), [], world, logger, console)
    trainer = Trainer(cfg, network(widths), ResidentLoader(images, BATCH, shards=Shards()), None, [], reporter, world)
    trainer.save_every = 10**9
    trainer.stop = StopRequest()
    trainer.reporter.start(0, trainer.max_iters)
    trainer._clock, trainer._clock_step = 0.0, 0
    return trainer._train_epoch


def bare_loop(widths: list[int], images: Synthetic):
    net = network(widths)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    beta = torch.distributions.Beta(1.0, 1.0)

    def epoch() -> None:
        order = torch.randperm(len(images))
        for step in range(STEPS):
            index = order[step * BATCH : (step + 1) * BATCH]
            x, y = images.images[index].float().div_(255).sub_(0.5).div_(0.25), images.labels[index]
            lam, partner = float(beta.sample()), torch.randperm(BATCH)
            logits = net.predict(torch.lerp(x[partner], x, lam))
            loss = lam * F.cross_entropy(logits, y) + (1 - lam) * F.cross_entropy(logits, y[partner])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/step_overhead.json"))
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for widths, size in ([2], 8), ([8, 16], 32):
            images = Synthetic(10, (3, size, size), BATCH * STEPS)
            candidates = {
                f"bare loop, ConvNet{widths}, {size} x {size}": bare_loop(widths, images),
                f"openmix, ConvNet{widths}, {size} x {size}": openmix_loop(widths, images, folder),
            }
            pair = interleaved(candidates, arguments.rounds)
            for row in pair:
                row["us_per_step"] = row["median_s"] / STEPS * 1e6
                row["overhead_us"] = row["us_per_step"] - pair[0]["us_per_step"]
            rows += pair
    columns = {
        "loop": "name",
        "step (µs)": ("us_per_step", 1, ".0f"),
        "beyond the bare loop (µs)": ("overhead_us", 1, ".0f"),
    }
    write_report(arguments.out, "A training step beside a bare PyTorch loop", device_facts(), rows, columns)


if __name__ == "__main__":
    main()
