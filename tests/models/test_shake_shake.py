"""Shake-Shake networks against a functional one that is written from their description, noise included."""

import copy
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from openmix.data import Batch
from openmix.engine.settings import OptimWrapper
from openmix.engine.step import TrainStep
from openmix.models import ClsHead
from openmix.models.backbones.shake_shake import ShakeShake, ShakeShakeNeXt
from openmix.tasks import Classification, StepContext

# with n blocks a stage
TINY = {
    "faa": lambda n, **kw: ShakeShake(6 * n + 2, 8, **kw),
    "paper": lambda n, **kw: ShakeShake(6 * n + 2, 8, variant="paper", **kw),
    "next": lambda n, **kw: ShakeShakeNeXt(9 * n + 2, 2, 2, **kw),
}


def make(name: str, blocks: int = 2, **arguments) -> nn.Module:
    """With norms that are not the identity, and in double precision."""
    torch.manual_seed(0)
    network = TINY[name](blocks, **arguments).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def images(batch: int = 3, height: int = 8, width: int = 12) -> Tensor:
    return torch.randn(batch, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# the oracle

Weights = dict[str, Tensor]


def norm(p: Weights, name: str, x: Tensor, training: bool) -> Tensor:
    mean, var = p[f"{name}.running_mean"], p[f"{name}.running_var"]
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    mean, var, scale, shift = (v[:, None, None] for v in (mean, var, p[f"{name}.weight"], p[f"{name}.bias"]))
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def branch(p: Weights, name: str, x: Tensor, stride: int, kind: str, training: bool) -> Tensor:
    if kind == "next":
        x = norm(p, f"{name}.1", F.conv2d(x, p[f"{name}.0.weight"]), training).relu()
        x = F.conv2d(x, p[f"{name}.3.weight"], stride=stride, padding=1, groups=2)
        return norm(p, f"{name}.7", F.conv2d(norm(p, f"{name}.4", x, training).relu(), p[f"{name}.6.weight"]), training)
    x = norm(p, f"{name}.2", F.conv2d(x.relu(), p[f"{name}.1.weight"], stride=stride, padding=1), training).relu()
    return norm(p, f"{name}.5", F.conv2d(x, p[f"{name}.4.weight"], padding=1), training)


def shortcut(p: Weights, name: str, x: Tensor, stride: int, kind: str, training: bool) -> Tensor:
    x = x.relu()
    move = -1 if kind == "paper" else 1
    height, width = x.shape[2:]
    moved = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            if 0 <= i + move < height and 0 <= j + move < width:
                moved[:, :, i, j] = x[:, :, i + move, j + move]
    halves = [
        torch.einsum("bchw,oc->bohw", source[:, :, ::stride, ::stride], p[f"{name}.{conv}.weight"][:, :, 0, 0])
        for source, conv in ((x, "conv1"), (moved, "conv2"))
    ]
    return norm(p, f"{name}.bn", torch.cat(halves, 1), training)


def noisy(one: Tensor, other: Tensor, alpha: Tensor | float, beta: Tensor | float) -> Tensor:
    """The value of one combination with the gradient of another."""
    value, gradient = (c * one + (1 - c) * other for c in (alpha, beta))
    return gradient + (value - gradient).detach()


def oracle(p: Weights, x: Tensor, kind: str, noise: Iterator[tuple] | None = None) -> list[Tensor]:
    """Return the stages' maps and, last, what is pooled, of networks with two blocks a stage."""
    training = noise is not None
    if kind == "paper":
        x = norm(p, "c_in.1", F.conv2d(x, p["c_in.0.weight"], padding=1), training)
    else:
        x = F.conv2d(x, p["c_in.weight"], p["c_in.bias"], padding=1)
    maps = []
    for stage in (1, 2, 3):
        for block in (0, 1):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            one, other = (branch(p, f"{name}.branch{i}", x, stride, kind, training) for i in (1, 2))
            changes = one.shape[1] != x.shape[1]
            x = shortcut(p, f"{name}.shortcut", x, stride, kind, training) if changes else x
            x = x + noisy(one, other, *(next(noise) if noise else (0.5, 0.5)))
        maps.append(x)
    return [*maps, x.relu()]


def noise_of(seed: int, count: int) -> Iterator[tuple]:
    """Replay the draws of a network: alphas and betas of each block, in order."""
    torch.manual_seed(seed)
    for _ in range(6):
        yield tuple(torch.rand(2, count, 1, 1, 1))


@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
@pytest.mark.parametrize("name", TINY)
def test_evaluation(name, size):
    network = make(name).eval()
    x = images(2, *size)
    expected = oracle(dict(network.state_dict()), x, name)
    assert network.out_channels == tuple(m.shape[1] for m in expected[:3])
    torch.testing.assert_close(network(x), (*expected[:2], expected[3]))
    torch.testing.assert_close(network.layer3(network(x)[1]), expected[2])


@pytest.mark.parametrize("level", ["image", "batch"])
@pytest.mark.parametrize("name", TINY)
def test_training_and_its_gradients(name, level):
    network = make(name, level=level).train()
    trained = {k: p for k, p in network.named_parameters() if p.requires_grad}
    copies = {k: p.detach().clone().requires_grad_() for k, p in trained.items()}
    state = {**network.state_dict(), **copies}
    expected = oracle(state, images(), name, noise_of(7, 3 if level == "image" else 1))
    torch.manual_seed(7)
    features = network(images())
    torch.testing.assert_close(features, (*expected[:2], expected[3]))
    gradients = [torch.autograd.grad(maps[-1].square().sum(), weights.values()) for maps, weights in
                 ((features, trained), (expected, copies))]  # fmt: skip
    for key, ours, theirs in zip(trained, *gradients, strict=True):
        assert ours.abs().sum() > 0, key
        torch.testing.assert_close(ours, theirs, msg=lambda m, key=key: f"{key}: {m}")


# counts

# classes, parameters as ResizeMix's networks have them with a linear classifier, 10^9 multiply-adds at 32 pixels
PUBLISHED = [
    (lambda: ShakeShake(26, 32), 10, 2_989_002, "0.427"),
    (lambda: ShakeShake(26, 64), 10, 11_914_698, "1.686"),
    (lambda: ShakeShake(), 10, 26_777_546, "3.777"),
    (lambda: ShakeShake(), 100, 26_812_196, "3.777"),
    (lambda: ShakeShake(26, 112), 10, 36_435_402, "5.135"),
    (lambda: ShakeShakeNeXt(), 10, 22_717_706, "3.676"),
    # the paper's 2.9, 11.7, 26.2 and 35.6 M
    (lambda: ShakeShake(26, 32, variant="paper"), 10, 2_923_162, "0.427"),
    (lambda: ShakeShake(26, 64, variant="paper"), 10, 11_653_978, "1.686"),
    (lambda: ShakeShake(26, 96, variant="paper"), 10, 26_192_922, "3.777"),
    (lambda: ShakeShake(26, 112, variant="paper"), 10, 35_640_442, "5.135"),
]


@pytest.mark.parametrize(("build", "classes", "parameters", "billions"), PUBLISHED)
def test_parameters_and_multiply_adds(build, classes, parameters, billions):
    with torch.device("meta"):
        network = build().eval()
        head = ClsHead(classes, network.out_channels[-1])
        with FlopCounterMode(display=False) as counter:
            head(network(torch.empty(1, 3, 32, 32))[-1].mean((2, 3)))
    assert sum(p.numel() for module in (network, head) for p in module.parameters()) == parameters
    assert f"{counter.get_total_flops() / 2e9:.3f}" == billions


def test_the_unused_weights_are_the_shortcuts_past_which_the_input_goes():
    """They are what ResizeMix's 2x96d has above the paper's, the stem apart: 9 blocks of w^2 + 2 w."""
    with torch.device("meta"):
        network = ShakeShake()
    frozen = {key: p.numel() for key, p in network.named_parameters() if not p.requires_grad}
    blocks = [f"layer{stage}.{block}.shortcut." for stage in (1, 2, 3) for block in (1, 2, 3)]
    names = ("conv1.weight", "conv2.weight", "bn.weight", "bn.bias")
    assert list(frozen) == [block + name for block in blocks for name in names]
    assert sum(frozen.values()) == sum(3 * (w * w + 2 * w) for w in (96, 192, 384))
    for network in (ShakeShake(26, 2, variant="paper"), ShakeShakeNeXt(20, 1, 1)):
        assert all(p.requires_grad for p in network.parameters())


def test_names_are_resizemixs():
    """Of everything that is saved, but for its classifier ``fc_out``."""
    with torch.device("meta"):
        ours = {"faa": ShakeShake(), "next": ShakeShakeNeXt()}
    norm_keys = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    convs = {"faa": (1, 4), "next": (0, 3, 6)}
    norms = {"faa": (2, 5), "next": (1, 4, 7)}
    with_shortcut = {"faa": (0, 1, 2, 3), "next": (0,)}
    blocks = {"faa": 4, "next": 2}
    for kind, network in ours.items():
        expected = {"c_in.weight", "c_in.bias"}
        for block in (f"layer{stage}.{i}" for stage in (1, 2, 3) for i in range(blocks[kind])):
            for branch_name in (f"{block}.branch1", f"{block}.branch2"):
                expected |= {f"{branch_name}.{i}.weight" for i in convs[kind]}
                expected |= {f"{branch_name}.{i}.{key}" for i in norms[kind] for key in norm_keys}
            if int(block[-1]) in with_shortcut[kind]:
                expected |= {f"{block}.shortcut.conv1.weight", f"{block}.shortcut.conv2.weight"}
                expected |= {f"{block}.shortcut.bn.{key}" for key in norm_keys}
        assert set(network.state_dict()) == expected


@pytest.mark.parametrize(
    ("build", "channels"),
    [(lambda: ShakeShake(), (96, 192, 384)), (lambda: ShakeShakeNeXt(), (256, 512, 1024))],
)
def test_stages(build, channels):
    with torch.device("meta"):
        network = build()
        maps = network(torch.empty(2, 3, 32, 32))
    assert network.out_channels == channels
    assert [tuple(m.shape) for m in maps] == [(2, c, s, s) for c, s in zip(channels, (32, 16, 8), strict=True)]
    blocks = {ShakeShake: 4, ShakeShakeNeXt: 2}[type(network)]
    assert [len(network.get_submodule(name)) for name in network.stage_names] == [blocks] * 3


# how they begin


@pytest.mark.parametrize("build", [lambda: ShakeShake(26, 16), lambda: ShakeShakeNeXt(26, 8)])
def test_initial_weights(build):
    """He's rule with fan out = kernel area * channels out, whatever the groups; norms 1 and 0."""
    torch.manual_seed(0)
    for name, module in build().named_modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach()
            expected = math.sqrt(2 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels))
            assert abs(weight.std().item() / expected - 1) < 5 / math.sqrt(2 * weight.numel()), name
            assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel()), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ShakeShake(25), r"depth must be 6n \+ 2 with n >= 1, got 25"),
        (lambda: ShakeShake(2), "depth must be 6.* got 2"),
        (lambda: ShakeShake(26.0), "depth must be 6.* got 26.0"),
        (lambda: ShakeShake(width=33), "width must be even, got 33"),
        (lambda: ShakeShake(width=0), "width must be an integer of at least 2, got 0"),
        (lambda: ShakeShake(width=32.0), "width must be an integer of at least 2, got 32.0"),
        (lambda: ShakeShake(8, 4, "keep"), "forward must be one of 'even', 'shake'"),
        (lambda: ShakeShake(8, 4, variant="rmix"), "variant must be one of 'faa', 'paper', got 'rmix'"),
        (lambda: ShakeShakeNeXt(10), "depth must be an integer of at least 11, got 10"),
        (lambda: ShakeShakeNeXt(29.0), "depth must be an integer of at least 11, got 29.0"),
        (lambda: ShakeShakeNeXt(width=0), "width must be an integer of at least 1, got 0"),
        (lambda: ShakeShakeNeXt(cardinality=4.0), "cardinality must be an integer of at least 1, got 4.0"),
        (lambda: ShakeShakeNeXt(11, 1, 1, level="all"), "level must be one of 'batch', 'image'"),
    ],
)
def test_what_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# ways to run them


@pytest.mark.parametrize("name", TINY)
def test_noise_in_the_network_is_on_in_training_only(name):
    network = make(name)
    network.eval()
    assert torch.equal(network(images())[-1], network(images())[-1])
    network.train()
    torch.manual_seed(0)
    first, second = network(images())[-1], network(images())[-1]
    torch.manual_seed(0)
    assert torch.equal(network(images())[-1], first)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("name", TINY)
def test_channels_last_and_bfloat16(name):
    network = make(name).float().train()
    x = images().float()
    results = []
    for way in ("plain", "channels_last", "bf16"):
        net = copy.deepcopy(network)
        layout = torch.channels_last if way == "channels_last" else torch.contiguous_format
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "bf16"):
            features = net.to(memory_format=layout)(x.contiguous(memory_format=layout))
        assert all(f.is_contiguous(memory_format=layout) for f in features)
        assert features[-1].dtype == (torch.bfloat16 if way == "bf16" else torch.float32)
        features[-1].float().mean((2, 3)).logsumexp(1).sum().backward()
        gradients = [p.grad for p in net.parameters() if p.requires_grad]
        assert all(torch.isfinite(g).all() and g.dtype == torch.float32 for g in gradients)
        results.append(([f.float() for f in features], torch.cat([g.flatten() for g in gradients])))
    (maps, gradient), (maps_cl, gradient_cl), (maps_bf, gradient_bf) = results
    torch.testing.assert_close(maps_cl, maps, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient_cl, gradient, rtol=1e-3, atol=1e-4)
    assert max((a - b).norm() / b.norm() for a, b in zip(maps_bf, maps, strict=True)) < 0.05
    assert F.cosine_similarity(gradient_bf, gradient, dim=0) > 0.9


def run(network: nn.Module, forward: nn.Module) -> list[Tensor]:
    """Return the maps and the gradients of a training step."""
    torch.manual_seed(5)
    features = forward(images())
    gradients = torch.autograd.grad(features[-1].square().sum(), [p for p in network.parameters() if p.requires_grad])
    return [*features, *gradients]


@pytest.mark.parametrize("name", ["faa", pytest.param("next", marks=pytest.mark.slow)])
def test_compiled_with_the_same_noise(name):
    torch.compiler.reset()
    network = make(name, blocks=1).train()
    forward = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(run(network, forward), run(network, network))


@pytest.mark.slow
def test_optimised():
    """With coefficients of 1/2, as inductor's noise is its own."""
    torch.compiler.reset()
    network = make("faa", blocks=1, forward="even", backward="even").train()
    forward = torch.compile(network, backend="inductor", fullgraph=True)
    torch.testing.assert_close(run(network, forward), run(network, network))


# keyed noise


def update(task: Classification, shards: list[int], batches: list[int]) -> Tensor:
    """Return by what a step of SGD at rate 1 over some shards changes the weights."""
    task = copy.deepcopy(task).train()
    step = TrainStep(task, torch.optim.SGD(task.parameters(), lr=1.0), OptimWrapper({}), torch.device("cpu"))
    before = [p.detach().clone() for p in task.parameters()]
    labels, index = torch.arange(4) % 3, torch.arange(4)
    data = [Batch((images(4).roll(b, 0) * (1 + b),), labels, index) for b in batches]
    step([(StepContext(0, 0, 9, s, 0.0), batch) for s, batch in zip(shards, data, strict=True)])
    return torch.cat([(p.detach() - q).flatten() for p, q in zip(task.parameters(), before, strict=True)])


def test_noise_belongs_to_the_shard_whoever_computes_it():
    """One process that accumulates two shards takes the mean of the steps of two processes with a shard each."""
    task = Classification(make("faa"), ClsHead(3, 32).double())
    apart = [update(task, [shard], [shard]) for shard in (0, 1)]
    torch.testing.assert_close(update(task, [0, 1], [0, 1]), (apart[0] + apart[1]) / 2)
    torch.testing.assert_close(update(task, [1, 0], [1, 0]), (apart[0] + apart[1]) / 2)
    # the noise matters, and is the shard's
    assert not torch.allclose(update(task, [1], [0]), apart[0], atol=1e-3)
