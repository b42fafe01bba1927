"""Images by their number: torch's own indexing, in the memory format that they had."""

import pytest
import torch

from openmix.ops.planes import take_images


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (1, 1, 2, 2), (4, 1, 3, 3)])
def test_equal_to_indexing(dtype, layout, shape):
    x = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = x.contiguous(memory_format=layout)
    index = torch.arange(shape[0]).flip(0).roll(1)
    taken = take_images(x, index)
    assert torch.equal(taken, x[index]) and taken.dtype == dtype
    assert taken.is_contiguous(memory_format=layout)
    taken.fill_(0)
    assert x.any(), "a copy, which may be written to"


def test_of_a_view():
    x = torch.rand(6, 4, 5, 7).transpose(2, 3)[::2]
    assert torch.equal(take_images(x, torch.tensor([2, 0, 1])), x[[2, 0, 1]])
