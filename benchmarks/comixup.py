"""Co-Mixup's labeling: how long it takes and how low it comes, beside the same sweeps over gco's alpha-beta swaps.

Saliency is that of 1,000 of CIFAR-10's test images, by a small network trained on them for 20 steps: ten batches of 100
in groups of 20, four sweeps, another prior and first labels each. The rival is what the authors do in one process,
group by group and output by output, written with numpy alone (theirs, with small tensors in torch, takes longer); it
only labels. Rounds alternate openmix, gco, openmix, gco ..., each on the next batch. The quality is of sub-problems as
they come up in openmix's runs, of which gco is given those same; it rounds costs to 1e-5, as in the authors' code.
Run: python benchmarks/comixup.py [--threads 1] [--out docs/benchmarks/comixup.json]
"""

import argparse
import runpy
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from common import device_facts, interleaved, write_report
from torch import Tensor

from openmix.mixers.comixup import comixup, draw_comixup
from openmix.ops import comixup_labels
from openmix.ops.comixup_cut import GridCut, cut_grid
from openmix.ops.comixup_groups import Partitions, compatibility, saliency_shares
from openmix.ops.comixup_labels import label_outputs

NAIVE = runpy.run_path(str(Path(__file__).parents[1] / "tests/ops/naive_comixup.py"))
SETTINGS = {"beta": 0.32 / 16, "gamma": 1 / 16, "tau": 0.83, "sweeps": 4}
PARTS = Partitions(100, 20)
PROVEN = 1e-5  # rounding in float32

Group = tuple[Tensor, Tensor, Tensor]


def prepared(saliency: Tensor, seed: int) -> Group:
    """Costs, A and first labels of a batch's five groups."""
    prior, first = draw_comixup(PARTS, 16, 2.0, torch.Generator().manual_seed(seed))
    cost = -PARTS.fold(saliency_shares(saliency, 4)) - 0.05 / 16 * torch.log(prior + 1e-8)[..., None]
    return cost, compatibility(saliency, PARTS, 0.001), first


def label_in_step(batch: Group) -> np.ndarray:
    """openmix's: shares (100, 16, 20)."""
    pairs = label_outputs(*batch, PARTS.counts(), **SETTINGS).flatten(0, 1)
    return torch.nn.functional.one_hot(pairs, 20).float().mean(2).numpy()


def label_by_swaps(batch: Group) -> np.ndarray:
    """The authors' sweeps over gco, group by group."""
    return np.concatenate([_sweeps(*(t[g].numpy() for t in batch)) for g in range(PARTS.groups)])


def _sweeps(cost: np.ndarray, compat: np.ndarray, first: np.ndarray) -> np.ndarray:
    n, beta, gamma = len(cost), SETTINGS["beta"], SETTINGS["gamma"]
    shares = np.eye(n, dtype=np.float32)[first]
    total, apart, before = shares.sum((0, 1)), np.zeros((n, n), np.float32), objective(cost, shares)
    for sweep in range(SETTINGS["sweeps"]):
        for j in range(n):
            own = shares[j].sum(0)
            others = total - own
            above = compat @ others > SETTINGS["tau"] * 16
            penalty = 2 * gamma * (compat @ (above * others)) + gamma * apart[j]
            pairs = NAIVE["blends"](own) if sweep else []
            unary, pairwise = NAIVE["subproblem"](cost + penalty[:, None], pairs)
            labels = NAIVE["swap"](unary, beta * pairwise)
            halves = np.array([(k, k) for k in range(n)] + pairs)[labels]
            shares[j] = np.eye(n, dtype=np.float32)[halves].mean(1)
            total = others + shares[j].sum(0)
        if sweep == SETTINGS["sweeps"] - 2:
            apart = NAIVE["collisions"](shares)
        after = objective(cost, shares)
        if abs(before - after) < 1e-6 * abs(after):
            break
        before = after
    return shares


def objective(cost: np.ndarray, shares: np.ndarray) -> float:
    """Of one group, without threshold and A."""
    grid, counts = shares.reshape(len(shares), 4, 4, -1), shares.sum(1)
    seams = (np.diff(grid, axis=1) ** 2).sum() + (np.diff(grid, axis=2) ** 2).sum()
    alike = (counts.sum(0) ** 2).sum() - (counts**2).sum()
    return float((shares * cost.T).sum() + SETTINGS["beta"] / 2 * seams + SETTINGS["gamma"] * alike)


def thresholded(cost: np.ndarray, shares: np.ndarray) -> float:
    """The objective of one group, in which pairs of outputs count where an input is beyond its share in the others."""
    counts = shares.sum(1)
    others = counts.sum(0) - counts
    alike = (counts * others).sum()
    beyond = (counts * others * (others > SETTINGS["tau"] * 16)).sum()
    return objective(cost, shares) - SETTINGS["gamma"] * float(alike - beyond)


def objectives(label: Callable[[Group], np.ndarray], batches: Sequence[Group]) -> str:
    """Means over all groups, with the threshold and without it."""
    values = []
    for batch in batches:
        for cost, shares in zip(batch[0].numpy(), np.split(label(batch), PARTS.groups), strict=True):
            values.append((thresholded(cost, shares), objective(cost, shares)))
    return "{:.2f} ({:.1f} without the threshold)".format(*np.mean(values, 0))


def quality(batches: Sequence[Group]) -> dict[str, str]:
    """What the solver finds, beside gco."""
    ours: list[float] = []
    theirs: list[float] = []
    gaps: list[float] = []

    def noted(unary: Tensor, pairwise: Tensor) -> GridCut:
        cut = cut_grid(unary, pairwise)
        for b, (u, w) in enumerate(zip(unary.flatten(1, 2).numpy(), pairwise.numpy(), strict=True)):
            exists = u[0] < comixup_labels.NEVER / 2
            ours.append(NAIVE["energy"](u, w, cut.labels[b].numpy()))
            u, w = u[:, exists], w[np.ix_(exists, exists)]
            theirs.append(NAIVE["energy"](u, w, NAIVE["swap"](u, w)))
        gaps.extend(cut.gap.tolist())
        return cut

    comixup_labels.cut_grid, kept = noted, comixup_labels.cut_grid
    try:
        for batch in batches:
            label_in_step(batch)
    finally:
        comixup_labels.cut_grid = kept
    a, b, gap = np.array(ours), np.array(theirs), np.array(gaps)
    relative = (a - b) / np.abs(b)
    return {
        "sub-problems": f"{len(a)}, {(gap < PROVEN).mean():.2%} with a proven minimum, largest gap {gap.max():.1e}",
        "beside gco": f"lower in {(a < b - PROVEN).mean():.1%}, higher in {(a > b + PROVEN).mean():.1%}",
        "energy less gco's, relative": f"mean {relative.mean():.2e}, highest {relative.max():.1e}",
        "objective of a group in the end": objectives(label_in_step, batches),
        "objective of a group in the end, over gco": objectives(label_by_swaps, batches),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/comixup.json"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    saliency = NAIVE["real_saliency"](1000)
    if saliency is None:
        raise SystemExit("the real CIFAR-10 images are not at ../shared/data/cifar10")
    batches = [prepared(maps, seed) for seed, maps in enumerate(saliency.split(100))]
    ours, theirs = cycle(batches), cycle(batches)
    large, maps = torch.rand(64, 3, 224, 224), torch.rand(64, 1, 8, 8).pow(4)
    maps = torch.nn.functional.interpolate(maps, size=(224, 224))[:, 0]
    small = torch.rand(100, 3, 32, 32)
    rows = interleaved(
        {
            "labels of 100 images, openmix": lambda: label_in_step(next(ours)),
            "labels of 100 images, over gco": lambda: label_by_swaps(next(theirs)),
            "comixup, 100 x 3 x 32 x 32": lambda: comixup(small, torch.arange(100), saliency=saliency[:100]),
            "comixup, 64 x 3 x 224 x 224": lambda: comixup(large, torch.arange(64), saliency=maps),
        },
        arguments.rounds,
    )
    facts = {**device_facts(), **quality(batches)}
    columns = {"what": "name", "median (ms)": ("median_s", 1e3, ".1f"), "quartiles (ms)": ("quartiles_s", 1e3, ".1f")}
    write_report(arguments.out, "Co-Mixup's labeling beside the same sweeps over gco", facts, rows, columns)


if __name__ == "__main__":
    main()
