"""MAE's decoder and positions against plain formulas."""

import math

import pytest
import torch

from openmix.models import MAEDecoder
from openmix.models.sincos import sincos_positions


@pytest.mark.parametrize(("channels", "grid"), [(8, (3, 5)), (4, (1, 1)), (48, (8, 8))])
def test_positions_are_the_formula(channels, grid):
    positions = sincos_positions(channels, grid).tolist()
    quarter = channels // 4
    for row in range(grid[0]):
        for column in range(grid[1]):
            wanted = [
                function(place / 10000 ** (k / quarter))
                for place in (column, row)
                for function in (math.sin, math.cos)
                for k in range(quarter)
            ]
            assert positions[row * grid[1] + column] == pytest.approx(wanted, abs=1e-6)


def test_positions_want_channels_divisible_by_4():
    with pytest.raises(ValueError, match="divisible by 4, got 6"):
        sincos_positions(6, (2, 2))


def decoder(prefix: int = 1) -> MAEDecoder:
    torch.manual_seed(0)
    made = MAEDecoder(6, embed_dim=8, depth=2, num_heads=2)
    made.attach((2, 3), 5, prefix)
    torch.nn.init.normal_(made.mask_token)
    return made.eval()


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_every_patch_is_at_its_place(prefix):
    """Token by token: a seen patch's own, elsewhere the mask token, each with the position of its place."""
    made = decoder(prefix)
    tokens = torch.randn(2, prefix + 2, 6)
    order = torch.stack([torch.randperm(6), torch.randperm(6)])
    with torch.no_grad():
        got = made(tokens, order.argsort(1))
        for image in range(2):
            embedded = made.embed(tokens[image])
            sequence = [embedded[i] for i in range(prefix)]
            for place in range(6):
                at = order[image].tolist().index(place)
                own = embedded[prefix + at] if at < 2 else made.mask_token[0, 0]
                sequence.append(own + made.positions[place])
            wanted = made.to_pixels(made.norm(made.blocks(torch.stack(sequence)[None])))[0, prefix:]
            assert torch.allclose(got[image], wanted, atol=1e-6)


def test_positions_are_no_weights():
    made = decoder()
    assert "positions" not in made.state_dict()
    assert {"mask_token", "embed.weight", "to_pixels.weight"} <= {name for name, _ in made.named_parameters()}


def test_it_begins_by_glorots_rule():
    made = MAEDecoder(64, embed_dim=64, depth=1, num_heads=2)
    made.attach((4, 4), 48, 1)
    bound = math.sqrt(6 / 128)
    assert 0.98 * bound < made.embed.weight.abs().max() <= bound
    assert made.to_pixels is not None and not made.to_pixels.bias.any()
    assert 0.01 < made.mask_token.std() < 0.04


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embed_dim": 10, "num_heads": 4}, "embed_dim must be divisible by 4 and by num_heads=4, got 10"),
        ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
        ({"num_heads": 1.5}, "num_heads must be an integer of at least 1"),
    ],
)
def test_wrong_numbers(arguments, message):
    with pytest.raises(ValueError, match=message):
        MAEDecoder(6, **arguments)
