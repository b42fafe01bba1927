"""Which parameter decays: against a list by hand, and against timm's rule for the same network."""

import pytest
import timm
import torch
from timm.optim import param_groups_weight_decay
from torch import nn

from openmix.engine.optim import build_optimizer, load_optimizer_state
from openmix.engine.settings import OptimWrapper, ParamwiseCfg
from openmix.errors import UserError
from openmix.tasks import Task


class Net(Task):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.scale = nn.Parameter(nn.init.ones_(nn.Conv2d(1, 4, 1).bias.data))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(4, 2)


def settings_of(cfg, task=None) -> dict[str, tuple[float, float]]:
    task = task or Net()
    optimizer = build_optimizer(OptimWrapper({"type": "SGD", "lr": 0.1, "weight_decay": 0.5}, cfg), task)
    names = {id(p): name for name, p in task.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}


ALL = {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "scale", "head.weight", "head.bias"}


def test_alike_without_a_config():
    assert settings_of(None) == dict.fromkeys(ALL, (0.1, 0.5))


@pytest.mark.parametrize(
    ("cfg", "undecayed"),
    [
        ({"norm_decay_mult": 0.0}, {"norm.weight", "norm.bias"}),
        ({"bias_decay_mult": 0.0}, {"conv.bias", "head.bias"}),
        ({"flat_decay_mult": 0.0}, {"scale"}),
        (
            {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "flat_decay_mult": 0.0},
            ALL - {"conv.weight", "head.weight"},
        ),
    ],
)
def test_no_decay(cfg, undecayed):
    assert settings_of(cfg) == {name: (0.1, 0.0 if name in undecayed else 0.5) for name in ALL}


def test_custom_keys_win_the_longest_first():
    keys = {"head": {"lr_mult": 10.0}, "head.bias": {"decay_mult": 2.0}}
    seen = settings_of({"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "custom_keys": keys})
    assert (seen["head.weight"], seen["head.bias"]) == ((1.0, 0.5), (0.1, 1.0))
    assert seen["conv.bias"] == seen["norm.weight"] == (0.1, 0.0)


class Timm(Task):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.net = timm.create_model(name)


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "convnext_atto"])
def test_all_three_are_timms_rule(name):
    """Nothing that is one-dimensional decays; timm also spares what a ViT names, such as its position embedding."""
    task = Timm(name)
    here = [name for name, _ in task.net.named_parameters()]
    spared = {name for name in getattr(task.net, "no_weight_decay", set)() if name in here}
    keys = {f"net.{key}": {"decay_mult": 0.0} for key in spared}
    seen = settings_of(
        {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "flat_decay_mult": 0.0, "custom_keys": keys}, task
    )
    no_decay, decay = param_groups_weight_decay(task.net, 0.5, no_weight_decay_list=spared)
    names = {id(p): name for name, p in task.named_parameters()}
    assert {names[id(p)] for p in no_decay["params"]} == {name for name, (_, wd) in seen.items() if wd == 0}
    assert {names[id(p)] for p in decay["params"]} == {name for name, (_, wd) in seen.items() if wd == 0.5}


class TestMomentum:
    """Of its own, in place of the optimizer's."""

    @pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"foreach": True}, {"fused": True, "nesterov": True}])
    @pytest.mark.parametrize("momentum", [0.0, 0.5])
    def test_steps_are_those_of_two_optimizers(self, momentum, options):
        """Where it is 0, plain gradient steps, whatever nesterov says."""
        task, twin = Net(), Net()
        twin.load_state_dict(task.state_dict())
        sgd = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "fused": not options.get("foreach"), **options}
        cfg = {"custom_keys": {"head": {"momentum": momentum}}}
        ours = [build_optimizer(OptimWrapper({"type": "SGD", **sgd}, cfg), task)]
        others = [p for name, p in twin.named_parameters() if "head" not in name and p.requires_grad]
        own = {"momentum": momentum, "nesterov": bool(momentum) and options.get("nesterov", False)}
        theirs = [torch.optim.SGD(others, **sgd), torch.optim.SGD(twin.head.parameters(), **{**sgd, **own})]
        for net, optimizers in ((task, ours), (twin, theirs)):
            for _ in range(4):
                net.zero_grad()
                sum((p.square().sum() for p in net.parameters()), torch.zeros(())).backward()
                for optimizer in optimizers:
                    optimizer.step()
        assert all(torch.equal(p, q) for p, q in zip(task.parameters(), twin.parameters(), strict=True))
        state = ours[0].state_dict()
        again = build_optimizer(OptimWrapper({"type": "SGD", **sgd}, cfg), task)
        load_optimizer_state(again, state)
        assert again.state_dict()["state"].keys() == state["state"].keys()

    def test_the_longest_key_counts(self):
        keys = {"head": {"momentum": 0.0, "lr_mult": 2.0}, "head.bias": {"lr_mult": 3.0}}
        optimizer = build_optimizer(
            OptimWrapper({"type": "SGD", "lr": 0.1, "momentum": 0.9}, {"custom_keys": keys}), Net()
        )
        groups = [(g["lr"], g["momentum"], len(g["params"])) for g in optimizer.param_groups]
        assert groups == [(0.1, 0.9, 5), (0.2, 0.0, 1), (pytest.approx(0.3), 0.9, 1)]

    @pytest.mark.parametrize("name", ["AdamW", "Lamb"])
    def test_of_an_optimizer_that_has_none(self, name):
        cfg = OptimWrapper({"type": name, "lr": 0.1}, {"custom_keys": {"head": {"momentum": 0.5}}})
        with pytest.raises(UserError, match=f"{name} has no momentum to be set; SGD and its like have one"):
            build_optimizer(cfg, Net())

    @pytest.mark.parametrize("value", [1.0, -0.1, float("nan")])
    def test_out_of_range(self, value):
        with pytest.raises(ValueError, match=r"custom_keys\['head'\]: momentum must be in \[0, 1\), got"):
            ParamwiseCfg(custom_keys={"head": {"momentum": value}})


def test_unknown_factor():
    with pytest.raises(ValueError, match="takes lr_mult, decay_mult and momentum, not wd"):
        ParamwiseCfg(custom_keys={"head": {"wd": 1.0}})


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"norm_decay_mult": -1.0}, "at least 0"),
        ({"custom_keys": {"head": {"lr_mult": float("nan")}}}, "at least 0"),
        ({"custom_keys": {"haed.": {"lr_mult": 1.0}}}, "no parameter's name contains 'haed.'"),
    ],
)
def test_bad_factors_and_keys(cfg, message):
    with pytest.raises(ValueError, match=message):
        settings_of(cfg)


def test_a_shared_parameter_is_its_first_owners():
    task = Net()
    task.head.bias = task.norm.bias = nn.Parameter(nn.init.zeros_(nn.Linear(1, 4).bias.data))
    seen = settings_of({"norm_decay_mult": 0.0, "bias_decay_mult": 0.5}, task)
    assert seen["norm.bias"] == (0.1, 0.0)
