"""tools/profile_step.py as a process: a table on stdout, and nothing of torch's own talk on stderr."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_config(lab, tmp_path):
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, str(ROOT / "tools" / "profile_step.py"), lab.write(tmp_path), "--steps", "2"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "│ backward " in done.stdout and "│ aten::" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.py", "tmp"}
    assert list((tmp_path / "tmp").glob("openmix-*")) == []
