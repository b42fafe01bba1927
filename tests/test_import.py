"""``import openmix`` costs what ``import torch`` costs: a user of the functions pays for nothing else."""

import json
import subprocess
import sys

import pytest

IMPORT_TORCH = "import torch"
IMPORT_OPENMIX = "import openmix; openmix.MixUp"

# what is imported after a first use of the package, of a class, and of everything that it offers
USE = """
import json, sys
import openmix
seen = [list(sys.modules)]
openmix.MixUp
seen.append(list(sys.modules))
import torch
openmix.CutMix, openmix.MixTarget, openmix.Mixed, dir(openmix)
images, labels = torch.rand(4, 3, 16, 16), torch.arange(4)
for name in openmix.list_mixers():
    mixer = openmix.build_mixer(name)
    if mixer.kind == "input" and not mixer.needs:
        mixed = mixer(images, labels, generator=torch.Generator().manual_seed(0))
        openmix.mix_cross_entropy(torch.zeros(len(mixed.images), 10), mixed.target)
seen.append(list(sys.modules))
print(json.dumps(seen))
"""

HEAVY = ("mmengine", "mmcv", "timm", "nvidia.dali", "torchvision", "PIL", "scipy", "sklearn", "matplotlib")


def run(code: str) -> str:
    """Return the last line that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def torchs_own() -> set[str]:
    """What ``import torch`` imports."""
    return set(json.loads(run(f"{IMPORT_TORCH}\nimport json, sys\nprint(json.dumps(list(sys.modules)))")))


@pytest.fixture(scope="module")
def added(torchs_own) -> list[set[str]]:
    """What openmix adds to that: imported alone, with a class, and with all in use."""
    return [set(modules) - torchs_own for modules in json.loads(run(USE))]


def packages(modules: set[str]) -> set[str]:
    """Return the packages of some modules, without openmix and the standard library."""
    return {name.partition(".")[0] for name in modules} - {"openmix"} - sys.stdlib_module_names


def test_the_package_alone_imports_no_method(added):
    """Names resolve when they are first used."""
    assert {name for name in added[0] if name.startswith("openmix")} == {"openmix", "openmix.version"}
    assert packages(added[0]) == set()


def test_a_class_adds_nothing_but_openmix_and_the_standard_library(added):
    assert "openmix.mixers.mixup" in added[1]
    assert packages(added[1]) == set()
    parts = {name.split(".")[1] for name in added[1] if name.startswith("openmix.")}
    assert parts <= {"version", "errors", "ops", "mixers"}


def test_using_everything_adds_no_package_either(added, torchs_own):
    """Torch itself may import more of its own parts as it works; nobody else may come in."""
    assert packages(added[2]) <= packages(torchs_own)
    assert not [name for name in added[2] if name.startswith(HEAVY)]


def test_layers_below_the_registry_do_without_mmengine():
    code = "import json, sys, openmix.tasks, openmix.data, openmix.evaluation\nprint(json.dumps(list(sys.modules)))"
    assert not {"mmengine", "timm", "mmcv"} & {name.split(".")[0] for name in json.loads(run(code))}


def cpu_seconds(code: str) -> float:
    """Return the processor time that ``code`` takes in a fresh interpreter, start-up not counted."""
    clock = "import time; start = time.process_time()"
    return float(run(f"{clock}\n{code}\nprint(time.process_time() - start)"))


def test_it_takes_at_most_1_15_times_as_long_as_torch():
    """By the best of five interleaved pairs, and five more where the machine was busy with something else."""
    torch_times, openmix_times = [], []
    for pair in range(10):
        torch_times.append(cpu_seconds(IMPORT_TORCH))
        openmix_times.append(cpu_seconds(IMPORT_OPENMIX))
        if pair >= 4 and min(openmix_times) <= 1.15 * min(torch_times):
            return
    ratio = min(openmix_times) / min(torch_times)
    pytest.fail(f"{IMPORT_OPENMIX!r} takes {ratio:.2f} times as long as {IMPORT_TORCH!r}")


def test_every_name_of_the_package_resolves():
    import openmix

    assert all(hasattr(openmix, name) for name in openmix.__all__)
    assert set(openmix.__all__) <= set(dir(openmix))
    for name in openmix.list_mixers():
        title = type(openmix.build_mixer(name)).__name__
        assert title in dir(openmix)
        assert getattr(openmix, title) is type(openmix.build_mixer(name))


@pytest.mark.parametrize("name", ["CutMx", "nothing"])
def test_unknown_names_are_attribute_errors(name):
    import openmix

    with pytest.raises(AttributeError, match=f"module 'openmix' has no attribute '{name}'"):
        getattr(openmix, name)
