"""How cost grows: with the batch, with the processes, with the data set; and what loaders keep in memory.

A growth exponent e says that twice as much of something takes 2^e times the time, or memory: 1 is proportional, 0 does
not depend on it. It is the slope of a straight line through the logarithms.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch

from openmix.bench.beside import Beside
from openmix.bench.loaders import MEAN, PIPELINE, STD
from openmix.bench.measure import estimate, synchronise, take_turns
from openmix.bench.memory import LOADERS, memory_of
from openmix.bench.recipe import Recipe
from openmix.bench.report import Bar, Options, Section
from openmix.bench.rows import columns_of, fields_of
from openmix.data import ResidentLoader, Synthetic
from openmix.errors import Reported
from openmix.models import ConvNet

__all__ = ["exponent", "run"]

BATCHES, PROCESSES, SIZES = (25, 50, 100, 200, 400), (1, 2), (10_000, 50_000, 200_000)
IMAGE = (3, 32, 32)
FLAT = 0.05  # an exponent below which 20 times the set costs an image less than 1.17 times the time
WIDTHS = [16, 32, 64]

Row = dict[str, Any]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the slope of log cost over log size.

    >>> round(exponent([1, 10, 100], [3, 300, 30_000]), 3)
    2.0
    """
    return statistics.linear_regression([math.log(x) for x in sizes], [math.log(y) for y in costs]).slope


def run(options: Options) -> Section:
    """Measure growth along each axis."""
    sizes = (500, 1000) if options.quick else SIZES
    loading = by_set_size(sizes, options)
    rows = [*by_batch_size(options), *by_processes(options), *loading, *memory(sizes, options)]
    flat = loading[-1]["exponent"]
    bound = f"the resident loader's time an image grows with the set by an exponent <= {FLAT}"
    return Section(
        "growth",
        "How cost grows",
        f"A real run (ConvNet {WIDTHS}, MixUp, resident random images of CIFAR-10's size, float32 on "
        f"{options.device.type}) "
        "against images a batch, and against processes, of one thread and 100 images each; the resident loader alone, "
        "100 a batch, against images in the set; memory beyond the program's own, in MiB. The exponent is of seconds a "
        "step over the batch (1 at most), of images/s over processes (1 is perfect), of seconds an image over the set "
        "(0 is flat), of seconds to build a loader (once each, after a small one), and of what it keeps. From and "
        "to are the medians' 95 % intervals.",
        {
            "against": "against",
            "n": ("n", ","),
            **columns_of("images/s", "images_per_s", ",.0f"),
            "build (s)": ("build_s", ".2f"),
            "set (MiB)": ("set_mb", ",.0f"),
            "kept": ("kept_mb", ",.0f"),
            "at most": ("peak_mb", ",.0f"),
            "workers'": ("workers_mb", ",.0f"),
            "on the GPU": ("device_mb", ",.0f"),
            "exponent": ("exponent", ".2f"),
        },
        rows,
        [Bar(bound, f"{flat:.3f}", flat <= FLAT)],
    )


def by_batch_size(options: Options) -> list[Row]:
    """Return images/s of a run for each batch size, which take turns of a run each."""
    rounds, images = (1, 400) if options.quick else (6, 2000)
    source = Synthetic(10, IMAGE, 1000)
    rates: dict[int, list[float]] = {size: [] for size in BATCHES}
    for number in range(rounds):
        options.say(f"batch sizes {BATCHES}, round {number + 1} of {rounds}")
        for size in BATCHES if number % 2 == 0 else reversed(BATCHES):
            augmented = {"padding": 4, "flip": True, "alpha": 1.0}
            recipe = Recipe(lambda: ConvNet(WIDTHS), source, size, options.device, MEAN, STD, **augmented)
            clock = Beside({}, 1, options.device)
            recipe.train([clock], max(images // size, 3))
            rates[size].append(size / statistics.median(clock.seconds["openmix"][1:]))
    rows = [{"against": "batch size", "n": size, **_rate(values)} for size, values in rates.items()]
    return _with_exponent(rows, lambda row: row["n"] / row["images_per_s"])


def by_processes(options: Options) -> list[Row]:
    """Return images/s of a run on one process and on two, which take turns of a run each."""
    processes = PROCESSES if options.device.type == "cpu" or torch.cuda.device_count() > 1 else PROCESSES[:1]
    rounds, steps = (1, 6) if options.quick else (6, 30)
    rates: dict[int, list[float]] = {n: [] for n in processes}
    for number in range(rounds):
        options.say(f"{' and '.join(map(str, processes))} processes, round {number + 1} of {rounds}")
        for n in processes if number % 2 == 0 else reversed(processes):
            rates[n].append(images_per_s(n, steps, options.device))
    rows = [{"against": "processes", "n": n, **_rate(values)} for n, values in rates.items()]
    return _with_exponent(rows, lambda row: row["images_per_s"])


def images_per_s(processes: int, steps: int, device: torch.device) -> float:
    """Return the speed of a run that torchrun starts, by all its records but the first, which has the start.

    Raises:
        Reported: the run failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(_config(processes, steps)))
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        program = ["-m", "openmix", "train", str(config), "--launcher", "pytorch", "--work-dir", f"{folder}/run"]
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if device.type == "cpu" else {}
        done = subprocess.run(
            [sys.executable, *launcher, *program],
            env={**os.environ, "OMP_NUM_THREADS": "1", **hidden},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise Reported(f"a run of {processes} processes ended with exit code {done.returncode}:\n{done.stdout}")
        lines = Path(f"{folder}/run/metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines][1:]
    return sum(r["images_per_s"] * r["time_s"] for r in records) / sum(r["time_s"] for r in records)


def _config(processes: int, steps: int) -> dict[str, Any]:
    """Return a run on random images; of one epoch at most, as something is saved after each."""
    images = {"type": "Synthetic", "num_classes": 10, "image_shape": IMAGE, "length": 100 * processes * steps}
    augmented = [{"type": "RandomCrop", "size": 32, "padding": 4}, {"type": "RandomHorizontalFlip"}]
    return {
        "data_preprocessor": {"mean": MEAN, "std": STD},
        "train_dataloader": {"type": "ResidentLoader", "batch_size": 100, "dataset": images, "pipeline": augmented},
        "model": {
            "type": "MixUpClassification",
            "backbone": {"type": "ConvNet", "widths": WIDTHS},
            "head": {"type": "ClsMixupHead", "num_classes": 10},
            "mix_mode": "mixup",
        },
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9}},
        "train_cfg": {"max_iters": steps},
        "default_hooks": {"logger": {"interval": steps // 3}},
    }


def by_set_size(sizes: Sequence[int], options: Options) -> list[Row]:
    """Return images/s of the resident loader for sets of different sizes, and how long it takes to build."""
    rounds, batches = (2, 3) if options.quick else (15, 100)
    options.say(f"the resident loader of {', '.join(f'{size:,}' for size in sizes)} images")
    source, build_s, turns = Synthetic(10, IMAGE, max(sizes)), {}, {}
    with ExitStack() as stack:
        ResidentLoader(
            source.take(100), 100, pipeline=PIPELINE, device=options.device
        ).close()  # what the first has more
        for size in sizes:
            began = time.perf_counter()
            loader = ResidentLoader(source.take(size), 100, pipeline=PIPELINE, device=options.device)
            synchronise(options.device)
            build_s[size] = time.perf_counter() - began
            turns[str(size)] = _some(_endless(stack.enter_context(closing(loader))), batches, options.device)
        seconds = take_turns(turns, rounds)
    rows = [
        {"against": "images in the set", "n": n, **_rate([100 * batches / s for s in seconds[str(n)]])} for n in sizes
    ]
    built = [{"against": "images in the set, to build the loader", "n": n, "build_s": build_s[n]} for n in sizes]
    _with_exponent(built, lambda row: row["build_s"])
    return built + _with_exponent(rows, lambda row: 1 / row["images_per_s"])


def memory(sizes: Sequence[int], options: Options) -> list[Row]:
    """Return what each loader keeps, each in a fresh process."""
    rows: list[Row] = []
    for name in LOADERS:
        options.say(f"memory of {name}")
        found = [
            {"against": f"images in the set, {name}", "n": size, **memory_of(name, size, options.device)}
            for size in sizes
        ]
        rows += _with_exponent(found, _kept) if all(_kept(row) > 0 for row in found) else found
    return rows


def _kept(row: Row) -> float:
    return (row["kept_mb"] or 0) + (row["device_mb"] or 0)


def _endless(loader: ResidentLoader) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    for epoch in count():
        yield from loader.epoch(epoch)


def _some(batches: Iterator[Any], number: int, device: torch.device) -> Callable[[], None]:
    def turn() -> None:
        for _ in islice(batches, number):
            pass
        synchronise(device)

    return turn


def _rate(values: Sequence[float]) -> Row:
    return fields_of("images_per_s", estimate(values))


def _with_exponent(rows: list[Row], cost: Callable[[Row], float]) -> list[Row]:
    """Return rows of one axis, of which the last tells how the cost grows."""
    if len(rows) > 1:
        rows[-1]["exponent"] = exponent([row["n"] for row in rows], [cost(row) for row in rows])
    return rows
