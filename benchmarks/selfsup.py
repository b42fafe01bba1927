"""What features learnt without labels are worth on CIFAR-10: small networks, a few epochs, three seeds, on a CPU.

A row is a run, of a config in configs/selfsup as it is but validated once, at its end, on one process of one thread:

- MoCo with a random resized crop, ScaleMix and CropMix as the query; SimCLR; SimSiam. kNN (k = 200, T = 0.1) and the
  linear probe (logistic regression, its penalty chosen on a part of the training set) are ``openmix probe``'s, of the
  last checkpoint: the training set is the bank, the 10,000 test images are the queries.
- The same of the untrained networks of the same seeds, and kNN of the pixels.
- A masked autoencoder, fine-tuned from it, and the same network from scratch for as many epochs.

Run: python benchmarks/selfsup.py [--seeds 0 1 2] [--slots 2] [--out docs/benchmarks/selfsup.json]. Rows that are
there are kept, and what is missing is run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from common import device_facts
from scipy import stats

from openmix.engine.build import initialise, open_bank, open_loader
from openmix.engine.config import load_config
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World
from openmix.engine.features import Features, features_of, knn_top1
from openmix.engine.log import open_logger
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import KnnCfg, Preprocessor
from openmix.evaluation.linear import choose_l2, fit_logistic

CONFIGS = Path("configs/selfsup")
MOCO = CONFIGS / "moco"
MAE = CONFIGS / "mae"
OUT = Path("docs/benchmarks/selfsup.json")
CONTRASTIVE = [
    *(MOCO / f"convnet_cifar10_moco{kind}.py" for kind in ("", "_scalemix", "_cropmix")),
    CONFIGS / "simclr/convnet_cifar10_simclr.py",
    CONFIGS / "simsiam/convnet_cifar10_simsiam.py",
]
VIT = [MAE / f"vit_micro_cifar10_{kind}.py" for kind in ("mae", "finetune", "scratch")]
FACTS = ("config_hash", "git_commit", "device")


def command(*arguments: str) -> None:
    """Run a command on one thread, or end with what it said."""
    done = subprocess.run(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")


def trained(config: Path, seed: int, work_dir: Path, *options: str) -> dict[str, Any]:
    """Train a config and return what its records say."""
    command(
        "bash", "tools/dist_train.sh", str(config), "1", "--work-dir", str(work_dir), "--seed", str(seed),
        "--cfg-options", "vis_backends=[]", "train_cfg.val_interval=1000", *options,
    )  # fmt: skip
    records = [json.loads(line) for line in (work_dir / "metrics.jsonl").read_text().splitlines()]
    run = json.loads((work_dir / "run.json").read_text())
    train, val = ([r for r in records if r["split"] == split] for split in ("train", "val"))
    loss = "loss_ssl" if "loss_ssl" in train[0] else "loss"
    return {
        "name": config.stem, "seed": seed, "epochs": val[-1]["epoch"], "first_loss": train[0][loss],
        "last_loss": train[-1][loss], "top1": val[-1]["top1"],
        "images_per_s": statistics.median(r["images_per_s"] for r in train),
        **{key: run[key] for key in FACTS}, "torch": run["versions"]["torch"],
    }  # fmt: skip


def contrastive(config: Path, seed: int) -> list[dict[str, Any]]:
    """Return the row of a run and of what its frozen features are worth."""
    with tempfile.TemporaryDirectory() as folder:
        row, out = trained(config, seed, Path(folder)), Path(folder) / "probe.json"
        checkpoint = Path(folder) / "checkpoints/last.pth"
        command(
            sys.executable, "-m", "openmix", "probe", str(config), str(checkpoint), "--knn", "--linear",
            "--out", str(out),
        )  # fmt: skip
        probed = json.loads(out.read_text())["rows"][0]
    return [{**row, "top1_knn": probed["top1_knn"], "top1_linear": probed["top1_linear"], "l2": probed["l2"]}]


def masked(_: Path, seed: int) -> list[dict[str, Any]]:
    """Return the rows of a masked autoencoder, of its fine-tuning, and of training from scratch."""
    pretrain, finetune, scratch = VIT
    with tempfile.TemporaryDirectory() as folder:
        mae, tuned, plain = (Path(folder) / name for name in ("mae", "tuned", "plain"))
        rows = [trained(pretrain, seed, mae)]
        rows.append(trained(finetune, seed, tuned, f"load_from={mae}/checkpoints/last.pth"))
        return [*rows, trained(scratch, seed, plain)]


def untrained(config: Path, seed: int) -> list[dict[str, Any]]:
    """Return the row of a network as a run of this seed begins with it."""
    cfg = load_config(str(config), {"randomness.seed": seed})
    task = initialise(cfg, World().device)
    bank, queries = features(cfg, task, task.features)
    l2 = choose_l2(*bank, num_classes=10)
    found = fit_logistic(*bank, num_classes=10, l2=l2).predict(queries.values)
    linear = 100 * (found == queries.labels).double().mean().item()
    knn = knn_top1(bank, queries, num_classes=10, settings=KnnCfg(), world=World())
    return [{"name": "untrained", "seed": seed, "top1_knn": knn, "top1_linear": linear, "l2": l2}]


def pixels(config: Path, _: int) -> list[dict[str, Any]]:
    """Return the row of kNN on the pixels."""
    bank, queries = features(load_config(str(config)), None, lambda images: images.flatten(1))
    knn = knn_top1(bank, queries, num_classes=10, settings=KnnCfg(), world=World())
    return [{"name": "pixels", "seed": None, "top1_knn": knn}]


def features(cfg: Any, task: Any, extract: Any) -> list[Features]:
    """Return the features of training and test images; without a task, of images in [0, 1]."""
    world = World()
    normalize = Normalize(Preprocessor() if task is None else Preprocessor(**cfg["data_preprocessor"]))
    damage = DamageLog(open_logger(None, world)[0], world)
    with open_loader(cfg, "val_dataloader", world) as queries, open_bank(cfg, world, "val_dataloader") as bank:
        return [features_of(task or torch.nn.Identity(), extract, x, normalize, damage) for x in (bank, queries)]


def interval(values: list[float]) -> str:
    """Return the mean and its 95 % interval by Student's t, in words."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.fmean(values):.2f} ± {half:.2f}"


def report(out: Path, rows: list[dict[str, Any]], facts: dict[str, Any]) -> None:
    """Write the rows as JSON, and beside it a table of means."""
    rows.sort(key=lambda row: (row["name"], str(row["seed"])))
    out.parent.mkdir(parents=True, exist_ok=True)
    title = "CIFAR-10 without labels, small networks on a CPU"
    out.write_text(json.dumps({"title": title, **facts, "rows": rows}, indent=2) + "\n")
    columns = {"kNN (%)": "top1_knn", "linear probe (%)": "top1_linear", "top-1 in the run (%)": "top1"}
    losses = {"first loss": "first_loss", "last loss": "last_loss"}
    lines = [["what", "epochs", "n", *columns, *losses]]
    lines.append(["---"] * len(lines[0]))
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        cells = [[row[key] for row in own if row.get(key) is not None] for key in (*columns.values(), *losses.values())]
        spelt = [interval(values) if values else "" for values in cells]
        lines.append([name, str(own[0].get("epochs", "")), str(len(own)), *spelt])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = "\n".join(f"- {key}: {value}" for key, value in facts.items())
    text = (
        "Means over seeds and 95 % intervals of Student's t. The top-1 in the run is the online probe's, or, of what\n"
        "is fine-tuned or trained from scratch, the network's. Of the pixels there is one figure.\n"
    )
    out.with_suffix(".md").write_text(f"# {title}\n\n{table}\n\n{text}\n{notes}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--slots", type=int, default=2, help="runs at a time")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    facts = {
        **device_facts(),
        "threads": 1,
        "test images": 10000,
        "runs": "a row each, with its own commit, in the JSON",
    }
    jobs = [(untrained, CONTRASTIVE[0], "untrained", seed) for seed in arguments.seeds]
    jobs.append((pixels, CONTRASTIVE[0], "pixels", None))
    jobs += [(contrastive, config, config.stem, seed) for seed in arguments.seeds for config in CONTRASTIVE[:3]]
    jobs += [(masked, VIT[-1], VIT[-1].stem, seed) for seed in arguments.seeds]
    jobs += [(contrastive, config, config.stem, seed) for config in CONTRASTIVE[3:] for seed in arguments.seeds]
    there = {(row["name"], row["seed"]) for row in rows}
    missing = [job for job in jobs if job[2:] not in there]
    with ThreadPoolExecutor(arguments.slots) as pool:
        running = {pool.submit(run, config, seed): name for run, config, name, seed in missing}
        for number, done in enumerate(as_completed(running), 1):
            rows += done.result()
            report(arguments.out, rows, facts)
            print(f"{number} of {len(running)}: {running[done]}, {done.result()[-1]}", flush=True)
    report(arguments.out, rows, facts)


if __name__ == "__main__":
    main()
