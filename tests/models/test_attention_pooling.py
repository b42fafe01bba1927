"""Pooling by attention, against a loop over places and heads."""

import math

import pytest
import torch

from openmix.errors import UserError
from openmix.models import AttentionPooling, ClsHead, ConvNet
from openmix.tasks import Classification


def test_a_loop_over_places():
    torch.manual_seed(0)
    neck = AttentionPooling(8, num_heads=2).eval()
    maps = torch.randn(2, 8, 3, 2)
    pool = neck.pool
    with torch.no_grad():
        got = neck((torch.randn(2, 4, 6, 4), maps))
        query = pool.q(pool.latent[0, 0])
        for image, row in zip(maps, got, strict=True):
            places = [pool.kv(image[:, y, x]) for y in range(3) for x in range(2)]
            heads = []
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                scores = [math.exp(float(query[part] @ kv[:8][part]) / 2) for kv in places]
                heads.append(sum(s * kv[8:][part] for s, kv in zip(scores, places, strict=True)) / sum(scores))
            x = pool.proj(torch.cat(heads))
            assert torch.allclose(row, x + pool.mlp(pool.norm(x)), atol=1e-5)


def test_a_classifier_takes_it():
    backbone = ConvNet([4, 8])
    neck = AttentionPooling(8, num_heads=2)
    task = Classification(backbone, ClsHead(3, neck.out_channels), neck)
    task.predict(torch.rand(2, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_what_is_refused():
    with pytest.raises(ValueError, match="num_heads must divide in_channels=8, got 3"):
        AttentionPooling(8, num_heads=3)
    with pytest.raises(UserError, match="this network's last one is pooled already"):
        AttentionPooling(8)((torch.rand(2, 8, 1, 1),))
