"""Shake-Shake's and ShakeDrop's noise, against its definition."""

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from openmix.models.shake import ShakeDrop, ShakeShakeSum, shake_scale, shake_sum

COUNT = 4000


def observe(noise: ShakeShakeSum, batch: int, seed: int = 0, shape: tuple[int, ...] = (2, 1, 3)) -> tuple[Tensor, ...]:
    """Return alpha and beta as they act on each value: what comes of branches of ones and zeros."""
    torch.manual_seed(seed)
    one, other = (torch.full((batch, *shape), float(value), requires_grad=True) for value in (1, 0))
    out = noise(one, other)
    out.sum().backward()
    torch.testing.assert_close(one.grad + other.grad, torch.ones_like(out), rtol=0, atol=1e-6)
    return out.detach(), one.grad


def observe_drop(noise: ShakeDrop, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return the factors of the forward and of the backward pass for each value."""
    torch.manual_seed(seed)
    x = torch.ones(batch, 2, 1, 3, requires_grad=True)
    out = noise(x)
    out.sum().backward()
    return out.detach(), x.grad


def assert_uniform(values: Tensor, low: float = 0.0, high: float = 1.0) -> None:
    """Kolmogorov and Smirnov's test at 0.1 per cent."""
    values = (values.double().sort().values - low) / (high - low)
    steps = torch.arange(len(values) + 1) / len(values)
    distance = torch.maximum((values - steps[:-1]).abs(), (steps[1:] - values).abs()).max()
    assert values.min() >= 0
    assert values.max() <= 1
    assert distance < 1.95 / len(values) ** 0.5


def assert_independent(one: Tensor, other: Tensor) -> None:
    """Neither they nor their distances from the middle are correlated, to four standard deviations."""
    for f in (lambda x: x, lambda x: (x - x.mean()).abs()):
        correlation = torch.corrcoef(torch.stack((f(one.double()), f(other.double()))))[0, 1]
        assert correlation.abs() < 4 / len(one) ** 0.5


def per_image(values: Tensor) -> Tensor:
    """Return the one value that each image has."""
    first = values.flatten(1)[:, :1]
    assert torch.equal(values.flatten(1), first.expand(-1, values[0].numel()))
    return first[:, 0]


# the functions


@pytest.mark.parametrize("count", [1, 3])
def test_sum_and_its_gradients_are_as_defined(count):
    generator = torch.Generator().manual_seed(0)
    one, other, grad = torch.randn(3, 3, 2, 2, 2, generator=generator)
    alpha, beta = torch.rand(2, count, 1, 1, 1, generator=generator)
    one.requires_grad_()
    other.requires_grad_()
    total = shake_sum(one, other, alpha, beta)
    total.backward(grad)
    for i in range(3):
        a, b = alpha[i % count].item(), beta[i % count].item()
        torch.testing.assert_close(total[i], a * one[i] + (1 - a) * other[i])
        torch.testing.assert_close(one.grad[i], b * grad[i])
        torch.testing.assert_close(other.grad[i], (1 - b) * grad[i])


@pytest.mark.parametrize("count", [1, 3])
def test_scale_and_its_gradient_are_as_defined(count):
    generator = torch.Generator().manual_seed(0)
    x, grad = torch.randn(2, 3, 2, 2, generator=generator)
    alpha, beta = torch.rand(2, count, 1, 1, generator=generator)
    x.requires_grad_()
    scaled = shake_scale(x, alpha, beta)
    scaled.backward(grad)
    torch.testing.assert_close(scaled, alpha.expand(3, 2, 2) * x)
    torch.testing.assert_close(x.grad, beta.expand(3, 2, 2) * grad)


def test_with_one_coefficient_the_gradient_is_the_derivative():
    one, other = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True).unbind()
    alpha = torch.rand(3, 1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x, y: shake_sum(x, y, alpha, alpha), (one, other))
    assert torch.autograd.gradcheck(lambda x: shake_scale(x, alpha, alpha), (one,))


def test_coefficients_get_no_gradient():
    one, other, alpha, beta = (torch.rand(2, 1, requires_grad=True) for _ in range(4))
    (shake_sum(one, other, alpha, beta) + shake_scale(one, alpha, beta)).sum().backward()
    assert one.grad is not None
    assert alpha.grad is None
    assert beta.grad is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_is_kept(dtype):
    """And the noise is that of float32, to the precision of the dtype."""
    one, other, grad = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    for noise, values in ((ShakeShakeSum(), (one, other)), (ShakeDrop(0.5), (one,))):
        results = []
        for kind in (torch.float32, dtype):
            torch.manual_seed(3)
            inputs = [x.to(kind, copy=True).requires_grad_() for x in values]
            out = noise(*inputs)
            out.backward(grad.to(kind))
            assert {out.dtype, *(x.grad.dtype for x in inputs)} == {kind}
            results.append([x.double() for x in (out, *(x.grad for x in inputs))])
        tolerance = 4 * max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
        torch.testing.assert_close(results[1], results[0], rtol=tolerance, atol=tolerance)


def test_autocast_changes_nothing():
    one, other = torch.randn(2, 4, 2, 3, 3).bfloat16()
    for noise, inputs in ((ShakeShakeSum(), (one, other)), (ShakeDrop(0.5), (one,))):
        torch.manual_seed(0)
        expected = noise(*inputs)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(noise(*inputs), expected)


def test_memory_format_is_kept():
    one, other = (torch.randn(4, 2, 3, 3).to(memory_format=torch.channels_last).requires_grad_() for _ in range(2))
    for out in (ShakeShakeSum()(one, other), ShakeDrop(0.0)(one)):
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert all(
            g.is_contiguous(memory_format=torch.channels_last)
            for g in torch.autograd.grad(out, (one, other), torch.ones_like(out), allow_unused=True)
            if g is not None
        )


# Shake-Shake


def test_each_image_has_an_independent_uniform_coefficient_in_each_pass():
    alpha, beta = map(per_image, observe(ShakeShakeSum(), COUNT))
    for values in (alpha, beta):
        assert_uniform(values)
        assert_independent(values[1:], values[:-1])
    assert_independent(alpha, beta)
    assert_independent(alpha[1:], beta[:-1])


def test_a_batch_has_one_coefficient_in_each_pass_that_is_new_every_time():
    noise = ShakeShakeSum(level="batch")
    seen = [observe(noise, 3, seed) for seed in range(500)]
    for values in (values for pair in seen for values in pair):
        assert torch.equal(values, values[:1, :1, :1, :1].expand_as(values))
    alpha, beta = (torch.stack([pair[i][0, 0, 0, 0] for pair in seen]) for i in range(2))
    assert_uniform(alpha)
    assert_uniform(beta)
    assert_independent(alpha, beta)


@pytest.mark.parametrize("level", ["batch", "image"])
@pytest.mark.parametrize("backward", ["keep", "even", "shake"])
@pytest.mark.parametrize("forward", ["even", "shake"])
def test_modes(forward, backward, level):
    alpha, beta = map(per_image, observe(ShakeShakeSum(forward, backward, level), 5))
    half = torch.full((5,), 0.5)
    assert torch.equal(alpha, half) == (forward == "even")
    expected = {"keep": alpha, "even": half}.get(backward)
    if expected is not None:
        torch.testing.assert_close(beta, expected)
    else:
        assert ((beta - alpha).abs() > 1e-4).all()
        assert ((beta - half).abs() > 1e-4).all()


@pytest.mark.parametrize("noise", [ShakeShakeSum(), ShakeShakeSum(level="batch"), ShakeDrop(0.5)])
def test_every_call_draws_anew_and_a_seed_repeats_them(noise):
    x = torch.randn(6, 2, 3, 3)
    inputs = (x, -2 * x) if isinstance(noise, ShakeShakeSum) else (x,)
    torch.manual_seed(1)  # of which the first three draws of ShakeDrop differ
    first = [noise(*inputs) for _ in range(3)]
    assert len({tuple(out.flatten().tolist()) for out in first}) == 3
    torch.manual_seed(1)
    again = [noise(*inputs) for _ in range(3)]
    assert all(map(torch.equal, first, again))


def test_backward_draws_nothing():
    """Both passes' coefficients are drawn in the forward pass, in which the order of blocks is known."""
    one, other = torch.randn(2, 3, 2, 2, 2, requires_grad=True).unbind()
    out = ShakeShakeSum()(one, other).sum() + ShakeDrop(0.0)(one).sum()
    before = torch.get_rng_state()
    out.backward()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("level", ["batch", "image"])
def test_evaluation_is_the_mean_and_draws_nothing(level):
    one, other = (torch.randn(3, 2, 2, 2, requires_grad=True) for _ in range(2))
    before = torch.get_rng_state()
    out = ShakeShakeSum(level=level).eval()(one, other)
    dropped = ShakeDrop(0.3, level).eval()(one)
    out.sum().backward()
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(out, (one + other) / 2)
    torch.testing.assert_close(one.grad, torch.full_like(one, 0.5))
    torch.testing.assert_close(other.grad, torch.full_like(other, 0.5))
    torch.testing.assert_close(dropped, 0.3 * one)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"forward": "keep"}, "forward must be one of 'even', 'shake', got 'keep'"),
        ({"backward": "none"}, "backward must be one of 'keep', 'even', 'shake', got 'none'"),
        ({"level": "pixel"}, "level must be one of 'batch', 'image', got 'pixel'"),
    ],
)
def test_unknown_modes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ShakeShakeSum(**arguments)


# ShakeDrop


@pytest.mark.parametrize("keep_prob", [0.2, 0.75])
def test_a_branch_is_kept_with_its_probability(keep_prob):
    noise = ShakeDrop(keep_prob, "batch")
    seen = [observe_drop(noise, 1, seed) for seed in range(1000)]
    alpha, beta = (torch.stack([pair[i].flatten()[0] for pair in seen]) for i in range(2))
    kept = alpha == 1
    assert torch.equal(kept, beta == 1), "both passes agree"
    deviation = (keep_prob * (1 - keep_prob) / len(seen)) ** 0.5
    assert abs(kept.float().mean() - keep_prob) < 4 * deviation
    assert_uniform(alpha[~kept], -1, 1)
    assert_uniform(beta[~kept])
    assert_independent(alpha[~kept], beta[~kept])
    # what evaluation takes: the variance is at most that of an even choice of -1 and 1
    assert abs(alpha.mean() - keep_prob) < 4 / len(seen) ** 0.5


def test_a_dropped_branch_has_coefficients_for_each_image():
    alpha, beta = map(per_image, observe_drop(ShakeDrop(0.0), COUNT))
    assert_uniform(alpha, -1, 1)
    assert_uniform(beta)
    assert_independent(alpha, beta)
    assert_independent(alpha[1:], alpha[:-1])


def test_a_batch_is_kept_or_dropped_as_a_whole():
    for seed in range(20):
        alpha, beta = map(per_image, observe_drop(ShakeDrop(0.5), 8, seed))
        assert len(alpha.unique()) == len(beta.unique())
        assert len(alpha.unique()) in (1, 8)


def test_a_certain_branch_is_passed_on():
    alpha, beta = observe_drop(ShakeDrop(1.0), 5)
    assert (alpha == 1).all()
    assert (beta == 1).all()


def test_what_shakedrop_cannot_take():
    for keep_prob in (-0.1, 1.1, "0.5"):
        with pytest.raises(ValueError, match=rf"keep_prob must be a number in \[0, 1\], got {keep_prob!r}"):
            ShakeDrop(keep_prob)
    with pytest.raises(ValueError, match="level must be one of 'batch', 'image', got 'channel'"):
        ShakeDrop(0.5, "channel")


# compiled

MODULES = {
    "sum, image": ShakeShakeSum(),
    "sum, batch": ShakeShakeSum(level="batch"),
    "sum, keep": ShakeShakeSum("even", "keep"),
    "drop, image": ShakeDrop(0.0),
    "drop, batch": ShakeDrop(0.5, "batch"),
}


def run(forward, noise: torch.nn.Module, seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    inputs = [x.requires_grad_() for x in torch.randn(2 - isinstance(noise, ShakeDrop), 300, 2, 3, 3)]
    out = forward(*inputs)
    out.square().sum().backward()
    return [out.detach(), *(x.grad for x in inputs)]


@pytest.mark.parametrize("name", MODULES)
def test_compiled_into_one_graph(name):
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    forward = torch.compile(MODULES[name], backend=counter, fullgraph=True)
    for seed in range(3):
        torch.testing.assert_close(run(forward, MODULES[name], seed), run(MODULES[name], MODULES[name], seed))
    assert counter.frame_count == 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_optimised(dtype):
    """Inductor's numbers are others than torch's: still uniform, independent and a function of the seed."""
    torch.compiler.reset()
    noise = ShakeShakeSum()
    forward = torch.compile(noise, backend="inductor", fullgraph=True)
    seen = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        one, other = (torch.full((COUNT, 2, 3, 1), float(v), dtype=dtype, requires_grad=True) for v in (1, 0))
        out = forward(one, other)
        out.sum().backward()
        assert {out.dtype, one.grad.dtype, other.grad.dtype} == {dtype}
        torch.testing.assert_close(one.grad + other.grad, torch.ones_like(out))
        seen.append((per_image(out.detach()), per_image(one.grad)))
    assert all(map(torch.equal, seen[0], seen[1]))
    assert not torch.equal(seen[0][0], seen[2][0])
    for alpha, beta in (seen[0], seen[2]):
        if dtype == torch.float32:
            assert_uniform(alpha)
            assert_uniform(beta)
        assert_independent(alpha, beta)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("noise", MODULES.values(), ids=MODULES)
def test_on_a_gpu_its_own_generator_draws_and_nothing_waits(noise):
    x = torch.randn(2 - isinstance(noise, ShakeDrop), 6, 2, 3, 3, device="cuda", requires_grad=True)
    noise(*x)
    results = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for seed_of_the_cpu in (0, 1):
            torch.default_generator.manual_seed(seed_of_the_cpu)
            torch.cuda.manual_seed(5)
            with torch.autocast("cuda", torch.bfloat16):
                out = noise(*x)
            results.append((out, *torch.autograd.grad(out.square().sum(), x)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(map(torch.equal, *results))
