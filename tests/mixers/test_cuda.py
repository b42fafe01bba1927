"""The same on a GPU: equal to the CPU, drawn from the same generator, without the host ever waiting for the device."""

import pytest
import torch

import openmix
from openmix.mixers.alignmix import alignmix
from openmix.mixers.manifoldmix import manifoldmix
from openmix.models.mix_points import MixPoints

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

ON_DEVICE = {
    "fmix-per_sample": "its noise is drawn on the device, with equal results on one kind of device only",
    "puzzlemix": "a GPU's solver may end at another of several masks that are equally good within its gap",
    "comixup": "as Puzzle Mix",
}


def cases() -> list[str]:
    found = []
    for name in openmix.list_mixers():
        method = openmix.build_mixer(name).method
        if method.kind == "input":
            for preset in [None, *method.presets]:
                parts = [name, *([f"preset={preset}"] if preset else [])]
                found.append("-".join(parts))
                if "per_sample" in method.hyper:
                    found.append("-".join([*parts, "per_sample"]))
    return found


def build(case: str):
    name, *rest = case.split("-")
    preset = next((r.removeprefix("preset=") for r in rest if r.startswith("preset=")), None)
    return Guided(openmix.build_mixer(name, preset=preset, **({"per_sample": True} if "per_sample" in rest else {})))


class Guided:
    """A mixer that is handed what it needs, on the images' device, made before so that nothing waits for it."""

    def __init__(self, mixer):
        shapes = {"saliency": (7, 32, 48), "attention": (7, 8, 8), "cam": (7, 4, 4), "features": (7, 6, 4, 4)}
        generator = torch.Generator().manual_seed(17)
        self.mixer = mixer
        self.needs = {need: torch.rand(shapes[need], generator=generator).pow(4) for need in mixer.needs}
        self.there = {need: value.cuda() for need, value in self.needs.items()}

    def __call__(self, images, labels, **given):
        needs = self.there if images.is_cuda else self.needs
        return self.mixer(images, labels, **given, **{need: value[: len(images)] for need, value in needs.items()})


def batch(dtype=torch.float32, channels_last=False):
    images = torch.rand(7, 3, 32, 48, generator=torch.Generator().manual_seed(1)).to(dtype)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return images, torch.arange(7) % 5


@pytest.fixture
def no_waiting():
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels_last", [False, True])
def test_equal_to_the_cpu(case, dtype, channels_last):
    images, labels = batch(dtype, channels_last)
    mixer = build(case)
    reason = ON_DEVICE.get(case) or ON_DEVICE.get(case.split("-")[0])
    if reason:
        pytest.skip(reason)
    for seed in range(3):
        here = mixer(images, labels, generator=torch.Generator().manual_seed(seed))
        there = mixer(images.cuda(), labels.cuda(), generator=torch.Generator().manual_seed(seed))
        assert there.images.is_cuda and there.images.dtype == dtype
        tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(there.images.cpu(), here.images, **tolerance)
        torch.testing.assert_close(there.target.weights.cpu(), here.target.weights)
        assert torch.equal(there.target.labels.cpu(), here.target.labels)


@pytest.mark.parametrize("case", cases())
def test_nothing_waits_for_the_device(case, request):
    images, labels = (t.cuda() for t in batch())
    mixer = build(case)
    mixer(images, labels)  # what is made once may wait
    request.getfixturevalue("no_waiting")
    mixed = mixer(images, labels)
    mixed.plan.apply(images)
    mixed.target.soft(5)
    openmix.mix_cross_entropy(torch.zeros(len(mixed.images), 5, device="cuda"), mixed.target)


@pytest.mark.parametrize("case", cases())
def test_a_batch_of_one(case):
    images, labels = (t[:1].cuda() for t in batch())
    assert build(case)(images, labels).images.is_cuda


@pytest.mark.parametrize("method", [manifoldmix, alignmix])
def test_features_do_not_wait_either(method, request):
    images, labels = (t.cuda() for t in batch())
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.Conv2d(8, 8, 3, 2)).cuda()
    points = MixPoints(net, ["0", "1"])
    net(images)
    request.getfixturevalue("no_waiting")
    for seed in range(6):
        mix = method(labels, generator=torch.Generator().manual_seed(seed), stages=points.stages)
        with points.armed(mix.stage, mix.plan):
            net(images if mix.stage else mix.plan.apply(images))


@pytest.mark.parametrize("case", cases())
def test_apply_compiles_and_equals_eager(case):
    images, labels = (t.cuda() for t in batch())
    mixed = build(case)(images, labels, generator=torch.Generator().manual_seed(0))
    torch._dynamo.reset()
    compiled = torch.compile(lambda plan, x: plan.apply(x), fullgraph=True)
    torch.testing.assert_close(compiled(mixed.plan, images), mixed.images, rtol=1e-4, atol=1e-4)
