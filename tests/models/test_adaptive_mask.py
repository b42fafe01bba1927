"""AdAutoMix's mask network against loops over images and places, written from the formula."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models.adaptive_mask import AdaptiveMask

SIZE = (8, 12)


def make(k: int = 3, seed: int = 0, **arguments) -> tuple[AdaptiveMask, Tensor, Tensor, Tensor]:
    """A network of large weights in float64, features of 4 images, sources and lambdas of each."""
    generator = torch.Generator().manual_seed(seed)
    network = AdaptiveMask(6, **arguments).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.7, generator=generator)
    features = torch.randn(4, 6, 2, 3, generator=generator, dtype=torch.float64)
    partners = [torch.randperm(4, generator=generator) for _ in range(k - 1)]
    lam = torch.rand(4, k, generator=generator)
    return network, features, torch.stack([torch.arange(4), *partners], 1), lam / lam.sum(1, keepdim=True)


def project(convolution: nn.Conv2d, vector: list[float]) -> list[float]:
    rows, biases = (t.tolist() for t in (convolution.weight.flatten(1), convolution.state_dict()["bias"]))
    return [b + sum(w * x for w, x in zip(row, vector, strict=True)) for row, b in zip(rows, biases, strict=True)]


def rectified(values: list[float]) -> list[float]:
    return [max(v, 0.0) for v in values]


def naive(network: AdaptiveMask, features: Tensor, sources: Tensor, lam: Tensor, mode: str) -> Tensor:
    shares = []
    for row, lams in zip(sources.tolist(), lam.tolist(), strict=True):
        places = [features[source].flatten(1).T.tolist() for source in row]  # (K)(places)(C)
        if network.lam_concat:
            places = [[[*x, share] for x in image] for image, share in zip(places, lams, strict=True)]
        q = [[rectified(project(network.query, x)) for x in image] for image in places]
        k = [[rectified(project(network.key, x)) for x in image] for image in places]
        v = [[project(network.value, x)[0] for x in image] for image in places]
        maps = []
        for i in range(len(row)):
            gathered = []
            for query in q[i]:
                scores = []
                for place in range(len(v[i])):
                    dots = [
                        sum(a * b for a, b in zip(query, k[j][place], strict=True)) for j in range(len(row)) if j != i
                    ]
                    scores.append(sum(dots) / math.sqrt(len(query)))
                total = sum(math.exp(s) for s in scores)
                gathered.append(sum(math.exp(s) / total * value for s, value in zip(scores, v[i], strict=True)))
            maps.append(torch.tensor(gathered, dtype=torch.float64).view(1, 1, *features.shape[2:]))
        enlarged = torch.cat([F.interpolate(m, SIZE, mode=mode) for m in maps], dim=1)
        shares.append(enlarged.exp() / enlarged.exp().sum(1, keepdim=True))
    return torch.cat(shares)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("lam_concat", [False, True])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_against_loops(k, lam_concat, mode):
    network, features, sources, lam = make(k, lam_concat=lam_concat, upsampling=mode)
    shares = network(features, sources, lam, SIZE)
    wanted = naive(network, features, sources, lam, mode)
    torch.testing.assert_close(shares, wanted)
    assert (wanted[:, 0].flatten(1).std(1) > 0.03).any(), "the test could not tell"
    torch.testing.assert_close(shares.sum(1), torch.ones(4, *SIZE, dtype=torch.float64))
    of_one = network(features, sources, lam[:1], SIZE)
    torch.testing.assert_close(of_one, network(features, sources, lam[:1].expand(4, k), SIZE))
    assert torch.equal(of_one[1:], shares[1:]) != lam_concat, "masks depend on lambda where they are told of it"


def test_it_begins_as_the_authors_do():
    torch.manual_seed(0)
    network = AdaptiveMask(256, lam_concat=True)
    for name, channels in (("query", 128), ("key", 128), ("value", 1)):
        convolution = network.get_submodule(name)
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        assert convolution.weight.shape == (channels, 257, 1, 1)
        assert convolution.weight.std().item() == pytest.approx(0.01, rel=0.15)
        assert not convolution.bias.any()
    assert AdaptiveMask(3, reduction=8).query.out_channels == 1


def test_float32_and_autocast_agree_with_float64():
    network, features, sources, lam = make(lam_concat=True)
    wanted = network(features, sources, lam, SIZE)
    single = network.float()
    shares = single(features.float(), sources, lam, SIZE)
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares, wanted.float())
    with torch.autocast("cpu", torch.bfloat16):
        half = single(features.bfloat16(), sources, lam, SIZE)
    assert half.dtype == torch.float32, "attention, upsampling and softmax are not in half precision"
    torch.testing.assert_close(half, shares, atol=0.05, rtol=0)
    torch.testing.assert_close(half.sum(1), torch.ones(4, *SIZE), atol=1e-6, rtol=0)


def test_gradients():
    """Against finite differences, for the weights and for the features."""
    network, features, sources, lam = make(lam_concat=True)
    direction = torch.randn(4, 3, *SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    names = [name for name, _ in network.named_parameters()]

    def loss(features: Tensor, *parameters: Tensor) -> Tensor:
        tensors = dict(zip(names, parameters, strict=True))
        return (torch.func.functional_call(network, tensors, (features, sources, lam, SIZE)) * direction).sum()

    inputs = features.requires_grad_(), *(p.detach().requires_grad_() for p in network.parameters())
    assert torch.autograd.gradcheck(loss, inputs)
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    for name, gradient in zip(names, gradients[1:], strict=True):
        reached = bool((gradient.abs() > 1e-12).any())
        assert reached == (name != "value.bias"), f"{name}: the softmax over sources does not see value's bias"


def test_features_without_a_graph_leave_none():
    network, features, sources, lam = make()
    assert network(features, sources, lam, SIZE).requires_grad
    with torch.no_grad():
        assert not network(features, sources, lam, SIZE).requires_grad


def test_it_waits_for_no_device():
    network, *tensors = make(lam_concat=True)
    features, sources, lam = (x.to("meta") for x in tensors)
    with torch.autocast("cpu", torch.bfloat16):
        shares = network.to("meta").float()(features.float(), sources, lam, SIZE)
    shares.sum().backward()
    assert shares.device.type == "meta" and shares.shape == (4, 3, *SIZE)


def test_bad_tensors():
    network, features, sources, lam = make()
    for arguments in [
        (features, sources[:, :1], lam[:, :1]),
        (features, sources[:3], lam[:3]),
        (features, sources.float(), lam),
    ]:
        with pytest.raises(ValueError, match="sources must be"):
            network(*arguments, SIZE)
    for wrong in (lam[:, :2], lam[:2], lam[0]):
        with pytest.raises(ValueError, match="lam must be"):
            network(features, sources, wrong, SIZE)
    with pytest.raises(ValueError, match="features must be"):
        network(features[0], sources, lam, SIZE)


@pytest.mark.parametrize(
    "arguments", [{"upsampling": "bicubic"}, {"reduction": 0}, {"in_channels": 0}, {"lam_concat": 1}]
)
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        AdaptiveMask(**{"in_channels": 6, **arguments})
