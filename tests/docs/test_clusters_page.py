"""docs/clusters.md: the Kubernetes job starts what it should on every pod, and the files and options are there."""

import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text()


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(text)


def test_pods(job):
    replicas = job["spec"]["pytorchReplicaSpecs"]
    assert [replicas[kind]["replicas"] for kind in ("Master", "Worker")] == [1, 3]
    assert replicas["Worker"]["template"] == replicas["Master"]["template"]
    assert replicas["Worker"]["restartPolicy"] == "OnFailure"


@pytest.mark.parametrize("rank", [0, 3])
def test_what_a_pod_runs(job, tmp_path, rank):
    """The launcher, as the operator's variables say; a stub in Python's place tells."""
    spec = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]
    python = tmp_path / "python"
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$@" $NNODES $NODE_RANK $MASTER_ADDR $PORT\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    given = {"RANK": str(rank), "WORLD_SIZE": "4", "MASTER_ADDR": "openmix-master-0", "MASTER_PORT": "23456"}
    given |= {variable["name"]: variable["value"] for variable in spec["env"]}
    done = subprocess.run(
        [*spec["command"], *spec["args"]], env=os.environ | given | {"PYTHON": str(python)}, cwd=ROOT,
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    tools, config = ROOT / "tools", given["CONFIG"]
    assert (ROOT / config).exists()
    assert done.stdout.split() == [
        f"{tools}/launch.py", "8", f"{tools}/train.py", config, "--work-dir", "/work/run", "--resume",
        "--launcher", "pytorch", "4", str(rank), "openmix-master-0", "23456",
    ]  # fmt: skip


def test_files_are_there():
    for name in re.findall(r"(?:tools|tests)/[\w/]+\.(?:sh|py)", PAGE):
        assert (ROOT / name).exists(), name


def test_variables_are_read_somewhere():
    source = "".join(path.read_text() for path in (ROOT / "tools").glob("*.*") if path.is_file())
    names = "NNODES NODE_RANK MASTER_ADDR PORT MAX_RESTARTS RDZV_TIMEOUT RDZV_ID"
    for name in f"{names} GPUS GPUS_PER_NODE CPUS_PER_TASK SBATCH_ARGS SRUN_ARGS".split():
        assert f"`{name}" in PAGE or f"{name}=" in PAGE, name
        assert name in source, name
