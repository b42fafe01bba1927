"""DALI on a GPU: nearly what it gives on a CPU, the same order, the same images replaced."""

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import DaliLoader
from openmix.data.transforms import CropMixPair, Views
from openmix.transforms import CropMix

from .conftest import encoded, photograph, source_of

pytest.importorskip("nvidia.dali", reason="DALI is not installed")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

COLOURS = [v2.RandomApply([v2.ColorJitter(0.4)], 0.8), v2.RandomGrayscale(0.5), v2.RandomApply([v2.GaussianBlur(5)])]


@pytest.mark.parametrize(
    "pipeline",
    [
        [v2.RandomResizedCrop(24), v2.RandomHorizontalFlip()],
        [v2.Resize(36), v2.CenterCrop(32)],
        [CropMix(size=24, inter_aug=True)],
        [CropMix(size=24, operation=1)],
        [Views([[CropMixPair(24, COLOURS)], [v2.RandomResizedCrop(24), *COLOURS]])],
    ],
)
def test_a_gpu_gives_nearly_what_a_cpu_gives(photographs, pipeline):
    loaders = [DaliLoader(photographs, 8, pipeline=pipeline, device=device) for device in ("cpu", "cuda")]
    for (_, cpu), (_, gpu) in zip(*(loader.epoch(0) for loader in loaders), strict=True):
        assert torch.equal(cpu.index, gpu.index)
        for one, other in zip(cpu.views, gpu.views, strict=True):
            assert other.device.type == "cuda"
            # nvJPEG rounds otherwise
            assert (one.float() - other.cpu().float()).abs().mean() < 2


def test_damage_on_a_gpu(tmp_path):
    contents = {f"{i}.jpg": encoded(photograph(i)) for i in range(8)}
    contents["3.jpg"] = contents["3.jpg"][:-40]
    contents["5.jpg"] = b"<html>"
    source = source_of(tmp_path, contents)
    pipeline = [v2.Resize([24, 24])]
    cpu, gpu = (list(DaliLoader(source, 2, pipeline=pipeline, device=device).evaluate()) for device in ("cpu", "cuda"))
    assert [batch.labels.tolist() for batch in cpu] == [batch.labels.tolist() for batch in gpu]
    assert sum(len(batch.damaged) for batch in gpu) == 2
