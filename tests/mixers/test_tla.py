"""TL-Align against labels that are written into every token and carried through the blocks (Xiao et al., 2023)."""

import pytest
import timm
import torch
from torch import Tensor, nn

import openmix
from openmix.mixers.tla import tla
from openmix.ops.attention import AttentionTap

CLASSES = 10


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def carried(matrices: list[Tensor], tokens: Tensor) -> Tensor:
    """Carry labels (N, classes) of tokens through blocks of attention (N, N), and return the first token's."""
    for matrix in matrices:
        aligned = torch.zeros_like(tokens)
        for i in range(len(tokens)):
            for j in range(len(tokens)):
                aligned[i] += matrix[i, j] * tokens[j]
        tokens = (aligned + tokens) / 2
    return tokens[0]


def token_labels(mixed, b: int, grid: tuple[int, int]) -> Tensor:
    """The class token's label is the image's, a patch's that of its pixels: (1 + h * w, classes)."""
    height, width = mixed.images.shape[2] // grid[0], mixed.images.shape[3] // grid[1]
    own, labels = mixed.mask[b, 0], mixed.target.labels[b].tolist()
    tokens = torch.zeros(1 + grid[0] * grid[1], CLASSES)
    tokens[0] = mixed.target.soft(CLASSES)[b]
    for i in range(grid[0]):
        for j in range(grid[1]):
            patch = own[i * height : (i + 1) * height, j * width : (j + 1) * width]
            for pixel in patch.flatten().tolist():
                tokens[1 + i * grid[1] + j, labels[0]] += pixel / patch.numel()
                tokens[1 + i * grid[1] + j, labels[1]] += (1 - pixel) / patch.numel()
    return tokens


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("blocks", [1, 4])
def test_labels_are_carried_through_the_blocks(make_batch, blocks, per_sample):
    images, labels = make_batch(4, 3, 16, 24)
    grid = (2, 3)
    matrices = torch.rand(blocks, 4, 7, 7, generator=seeded(1)).pow(3).softmax(-1)
    product = torch.eye(7).expand(4, 7, 7)
    for matrix in matrices:
        product = (matrix @ product + product) / 2
    rollout = product[:, 0, 1:].unflatten(1, grid)
    for seed in range(4):
        mixed = openmix.CutMix(per_sample=per_sample)(images, labels, generator=seeded(seed))
        target = tla(mixed, rollout=rollout)
        assert torch.equal(target.labels, mixed.target.labels)
        for b in range(4):
            wanted = carried(list(matrices[:, b]), token_labels(mixed, b, grid))
            torch.testing.assert_close(target.soft(CLASSES)[b], wanted, rtol=0, atol=2e-6)


def test_labels_are_carried_through_a_network(make_batch):
    """The whole of it, on timm's network: matrices by its own unfused code."""
    torch.manual_seed(0)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=24, depth=3, num_heads=3, num_classes=0
    )
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
    tap = AttentionTap(net)
    mixed = openmix.CutMix(per_sample=True)(*make_batch(3, 3, 16, 16), generator=seeded(2))
    with tap.recording():
        net(mixed.images)
    target = tla(mixed, rollout=tap.rollout())
    matrices = []
    for block in net.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda module, args, output: matrices.append(args[0].mean(1)))
    with torch.no_grad():
        net(mixed.images)
    for b in range(3):
        wanted = carried([m[b] for m in matrices], token_labels(mixed, b, (4, 4)))
        torch.testing.assert_close(target.soft(CLASSES)[b], wanted, rtol=0, atol=1e-5)
    assert float((target.weights - mixed.target.weights).abs().max()) > 0.01


def test_what_a_map_lacks_keeps_the_mixed_label(make_batch):
    mixed = openmix.CutMix()(*make_batch(), generator=seeded(4))
    torch.testing.assert_close(tla(mixed, rollout=torch.zeros(5, 4, 4)).weights, mixed.target.weights)


def test_a_map_that_sums_to_more_than_1_still_makes_weights_that_do(make_batch):
    mixed = openmix.CutMix()(*make_batch(), generator=seeded(4))
    target = tla(mixed, rollout=torch.rand(5, 4, 4, generator=seeded()) * 7)
    assert bool((target.weights >= 0).all())
    torch.testing.assert_close(target.weights.sum(1), torch.ones(5))
