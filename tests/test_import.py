"""A user of the functions pays for torch alone."""

import json
import subprocess
import sys

import pytest

# what must not come along, not even by way of something else
HEAVY = ("mmengine", "timm", "nvidia", "torchvision", "mmcv", "sklearn", "rich", "tensorboard", "matplotlib", "wandb")
USES = (
    "openmix.MixUp",
    "openmix.build_mixer('cutmix', alpha=1.0)",
    "openmix.mix_cross_entropy",
    "openmix.list_mixers()",
    "dir(openmix)",
)


def run(code: str) -> str:
    """Run some Python in a new process and return what it prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_functions_import_torch_and_nothing_heavier():
    code = f"import json, sys, openmix\n{chr(10).join(USES)}\nprint(json.dumps(sorted(sys.modules)))"
    loaded = {name.split(".")[0] for name in json.loads(run(code))}
    assert "torch" in loaded
    assert not loaded & set(HEAVY)


def test_layers_below_the_engine_do_without_mmengine():
    code = "import json, sys, openmix.tasks, openmix.data, openmix.evaluation\nprint(json.dumps(sorted(sys.modules)))"
    assert not {"mmengine", "timm", "mmcv"} & {name.split(".")[0] for name in json.loads(run(code))}


def seconds(code: str) -> float:
    """The processor time of a new process that runs some Python: the load of the machine is no part of it."""
    return float(run(f"{code}\nimport time\nprint(time.process_time())"))


def test_import_takes_at_most_1_15_times_as_long_as_torch():
    """The least of several, measured in turn; more pairs only where the first are too close to tell."""
    ours, theirs = [], []
    for _ in range(8):
        theirs.append(seconds("import torch"))
        ours.append(seconds("import openmix; openmix.MixUp"))
        if len(ours) > 1 and min(ours) <= 1.15 * min(theirs):
            return
    pytest.fail(f"import openmix takes {min(ours):.2f} s, import torch {min(theirs):.2f} s")


def test_every_name_of_the_package_resolves():
    import openmix

    for name in openmix.__all__:
        assert getattr(openmix, name) is not None
    for name in openmix.list_mixers():
        title = type(openmix.build_mixer(name)).__name__
        assert title in dir(openmix)
        assert getattr(openmix, title) is type(openmix.build_mixer(name))
    with pytest.raises(AttributeError, match="module 'openmix' has no attribute 'CutMx'"):
        _ = openmix.CutMx
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = openmix.nothing
