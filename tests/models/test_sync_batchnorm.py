"""BatchNorm over all processes: BatchNorm of all their images in one."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from openmix.models.sync_batchnorm import SyncBatchNorm, SyncBatchNormAct, synchronize_batchnorm

CPU = torch.device("cpu")
PLAIN, WITH_ACT = "torch.nn.BatchNorm2d", "timm.layers.norm_act.BatchNormAct2d"


def in_one_process(ranks, counts: list[int], **arguments: Any) -> dict[str, Any]:
    """Return what BatchNorm itself makes of all images."""
    (found,) = ranks(1, "norm_steps", counts=[sum(counts)], **arguments)
    return found


@pytest.mark.parametrize(
    ("counts", "kind", "options", "cast"),
    [
        ([4, 4], PLAIN, {}, {}),
        ([0, 3], PLAIN, {}, {}),
        ([1, 0, 1], PLAIN, {}, {}),
        ([4, 4], WITH_ACT, {"act_layer": nn.SiLU.__name__.lower()}, {}),
        ([2, 3], PLAIN, {"momentum": None, "eps": 0.01}, {}),
        ([2, 3], PLAIN, {"affine": False}, {}),
        ([2, 3], PLAIN, {"track_running_stats": False}, {}),
        ([2, 3], PLAIN, {}, {"memory_format": "channels_last"}),
    ],
    ids=["even", "empty", "three", "timm", "cumulative", "no affine", "no statistics", "channels_last"],
)
def test_processes_together_are_one_batchnorm(ranks, counts, kind, options, cast):
    """Outputs, gradients, running statistics after two steps, and what they evaluate to."""
    arguments = {"kind": kind, "options": options, "cast": cast}
    one = in_one_process(ranks, counts, **arguments)
    several = ranks(len(counts), "norm_steps", counts=counts, **arguments)
    for step in range(2):
        for key in ("output", "gradient"):
            together = torch.cat([rank["steps"][step][key] for rank in several])
            torch.testing.assert_close(together, one["steps"][step][key], rtol=1e-4, atol=1e-5)
        assert all(rank["steps"][step]["strides"] == one["steps"][step]["strides"] for rank in several)
    for i, gradient in enumerate(one["gradients"]):
        torch.testing.assert_close(sum(rank["gradients"][i] for rank in several), gradient, rtol=1e-4, atol=1e-4)
    for rank in several:
        assert list(rank["state"]) == list(one["state"])
        torch.testing.assert_close(rank["state"], one["state"])
    if options.get("track_running_stats", True):  # else it is each process's own batch that counts
        torch.testing.assert_close(torch.cat([rank["eval"] for rank in several]), one["eval"], rtol=1e-4, atol=1e-5)


def test_statistics_by_hand(ranks):
    """Mean, variance and its unbiased estimate over 3 + 4 images of 2 x 4."""
    arguments = {"kind": PLAIN, "options": {"momentum": 0.3}, "cast": {}}
    images = torch.randn(7, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    several = ranks(2, "norm_steps", counts=[3, 4], **arguments)
    variance, mean = torch.var_mean(images, (0, 2, 3), correction=0)
    weight, bias = (
        torch.nn.init.normal_(torch.empty(3), mean=1.0, generator=torch.Generator().manual_seed(i)) for i in range(2)
    )
    by = (1, 3, 1, 1)
    expected = (images - mean.view(by)) / (variance.view(by) + 1e-5).sqrt() * weight.view(by) + bias.view(by)
    torch.testing.assert_close(torch.cat([rank["steps"][0]["output"] for rank in several]), expected)
    second = torch.randn(7, 3, 2, 4, generator=torch.Generator().manual_seed(1)) + 5
    running = torch.zeros(3), torch.ones(3)
    for batch in (images, second):
        running = (
            0.7 * running[0] + 0.3 * batch.mean((0, 2, 3)),
            0.7 * running[1] + 0.3 * batch.var((0, 2, 3), correction=1),
        )
    for rank in several:
        torch.testing.assert_close(rank["state"]["running_mean"], running[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(rank["state"]["running_var"], running[1], rtol=1e-6, atol=1e-6)
        assert rank["state"]["num_batches_tracked"] == 2


def test_bfloat16_is_normalised_in_float32(ranks):
    """As near as BatchNorm itself comes in bfloat16, to the same of float32 numbers; in and out it is bfloat16."""
    arguments = {"kind": PLAIN, "options": {}, "cast": {"dtype": "bfloat16"}}
    one = in_one_process(ranks, [3, 4], **arguments)
    several = ranks(2, "norm_steps", counts=[3, 4], **arguments)
    for key in ("output", "gradient"):
        together = torch.cat([rank["steps"][1][key] for rank in several])
        assert together.dtype == torch.bfloat16
        torch.testing.assert_close(together, one["steps"][1][key], rtol=0.02, atol=0.02)
    torch.testing.assert_close(several[0]["state"], one["state"])


def test_one_value_a_channel_has_no_variance(ranks):
    said = ranks(2, "lone_value")
    assert said == ["BatchNorm needs more than 1 value per channel when training, got 1 in all"] * 2


def test_every_batchnorm_of_a_network_is_found_and_stays_the_object_that_it_is():
    """Names, parameters and hooks with it; timm's norms keep their activations, and what evaluates stays the same."""
    net = timm.create_model("mobilenetv3_small_050").eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    before, names, parameters = net(images), list(net.state_dict()), list(net.parameters())
    assert synchronize_batchnorm(net, CPU) == len(norms) > 10
    assert all(isinstance(norm, SyncBatchNorm) for norm in norms)
    assert any(isinstance(norm, SyncBatchNormAct) for norm in norms)
    assert list(net.state_dict()) == names
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert torch.equal(net(images), before)
    assert synchronize_batchnorm(net, CPU) == 0


def test_without_processes_it_is_batchnorm():
    norm, images = nn.BatchNorm1d(3), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    synchronize_batchnorm(norm, CPU)
    assert torch.equal(norm(images), F.batch_norm(images, None, None, torch.ones(3), torch.zeros(3), training=True))


def test_on_gpus_the_norms_are_torchs_and_timms():
    """Only the classes are looked at: there need not be a GPU."""
    norms = nn.Sequential(nn.BatchNorm2d(3), timm.layers.norm_act.BatchNormAct2d(3))
    synchronize_batchnorm(norms, torch.device("cuda"))
    assert [type(norm) for norm in norms] == [nn.SyncBatchNorm, timm.layers.norm_act.SyncBatchNormAct]
    own = nn.SyncBatchNorm(3)
    assert vars(own).keys() - vars(norms[0]).keys() == set()


def test_a_kind_that_is_not_known_is_refused_before_anything_is_changed():
    class Odd(nn.BatchNorm2d):
        """Somebody's own."""

    net = nn.Sequential(nn.BatchNorm2d(3), Odd(3))
    with pytest.raises(ValueError, match="not known how to synchronise a Odd"):
        synchronize_batchnorm(net, CPU)
    assert type(net[0]) is nn.BatchNorm2d
