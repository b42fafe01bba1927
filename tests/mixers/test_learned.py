"""AutoMix, SAMix and AdAutoMix as mixers, without a checkpoint; tests/engine/test_frozen.py is about those with one."""

import inspect
import subprocess
import sys

import pytest
import torch

import openmix

NAMES = {"automix": "AutoMix", "samix": "SAMix", "adautomix": "AdAutoMix"}


def test_those_are_the_learned_ones():
    assert {n for n in openmix.list_mixers() if openmix.build_mixer(n).kind == "learned"} == set(NAMES)


@pytest.mark.parametrize(("name", "title"), NAMES.items())
class TestWithoutCheckpoint:
    def test_a_call_names_the_task_and_the_argument(self, name, title):
        mixer = openmix.build_mixer(name)
        assert not mixer.frozen
        with pytest.raises(TypeError, match=f"{title}Classification.*checkpoint=") as caught:
            mixer(torch.zeros(2, 3, 8, 8), torch.arange(2))
        assert "\n" not in str(caught.value)

    def test_so_does_a_composition(self, name, title):
        mixer = openmix.Choice([openmix.build_mixer(name)])
        with pytest.raises(TypeError, match=f"{title}Classification.*checkpoint="):
            mixer(torch.zeros(2, 3, 8, 8), torch.arange(2))

    def test_so_does_the_function(self, name, title):
        with pytest.raises(TypeError, match=f"checkpoint of a run of {title}Classification"):
            getattr(openmix.mixers, name)()

    def test_the_class_takes_what_the_function_does(self, name, title):
        cls = getattr(openmix, title)
        assert list(inspect.signature(cls).parameters) == ["checkpoint", "alpha", "lam_margin", "preset"]
        with pytest.raises(ValueError, match=f"{name} takes no 'checkpiont'; did you mean 'checkpoint'"):
            cls(checkpiont="x")


def test_the_functions_cost_torch_alone():
    """What builds networks is imported when a checkpoint is given, not before."""
    code = "import sys, openmix; openmix.AutoMix(); print('mmengine' in sys.modules, 'openmix.engine' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
