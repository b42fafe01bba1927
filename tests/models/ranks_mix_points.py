"""Two processes that mix inside a network of timm's under DistributedDataParallel; started by a test.

    python ranks_mix_points.py FOLDER

Each process leaves ``FOLDER/RANK.pt``: the gradients of each step, by the parameter's name.
"""

import sys
from datetime import timedelta
from pathlib import Path

import timm
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import openmix
from openmix.mixers import manifoldmix
from openmix.models.mix_points import MixPoints
from openmix.ops.plans import FeatureMix

RANKS, STEPS, CLASSES = 2, 6, 5
STAGES = ("layer1", "layer2", "layer3", "layer4")


def network() -> torch.nn.Module:
    """The same weights in every process."""
    torch.manual_seed(0)
    return timm.create_model("test_resnet", pretrained=False, num_classes=CLASSES).train()


def batch_of(rank: int, step: int) -> tuple[torch.Tensor, torch.Tensor, FeatureMix]:
    """Images, labels and a mix that only this process has."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    labels = torch.randint(CLASSES, (4,), generator=generator)
    return images, labels, manifoldmix(labels, generator=generator, stages=STAGES, layers=range(5))


def compute(rank: int) -> list[dict[str, torch.Tensor]]:
    """Return what this process saw of :data:`STEPS` backward passes with the same weights."""
    net = network()
    points = MixPoints(net, STAGES)
    model, steps = DistributedDataParallel(net), []
    for step in range(STEPS):
        images, _, mix = batch_of(rank, step)
        images = mix.plan.apply(images) if mix.stage is None else images
        model.zero_grad()
        with points.armed(mix.stage, mix.plan):
            loss = openmix.mix_cross_entropy(model(images), mix.target)
        loss.backward()
        steps.append({name: p.grad.clone() for name, p in net.named_parameters()})
    return steps


def run(rank: int, folder: Path) -> None:
    """Be one process."""
    store = dist.FileStore(str(folder / "store"), RANKS)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=60))
    torch.save(compute(rank), folder / f"{rank}.pt")
    # by way of the file, not of gloo's sockets: a process that leaves early may reset the other's connection
    store.set(f"done {rank}", "")
    store.wait([f"done {other}" for other in range(RANKS)])
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.multiprocessing.start_processes(run, (Path(sys.argv[1]),), RANKS, start_method="fork")
