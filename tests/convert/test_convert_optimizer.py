"""Optimizers and parameter groups: what each parameter gets is what the old patterns gave it."""

from typing import Any

import pytest
import torch
from mmengine.config import Config

from openmix.convert.config import convert_config
from openmix.engine.param_groups import apply_multipliers, split_groups
from openmix.engine.settings import ParamwiseCfg


def converted(path: str) -> Any:
    text, report = convert_config(path)
    assert report.of("refused") == []
    return Config.fromstring(text, ".py")


class TestOptimizer:
    def test_timms_by_another_name(self, old):
        cfg = converted(old(optimizer={"type": "LAMB", "lr": 0.008, "weight_decay": 0.02, "_delete_": True}))
        assert cfg.optim_wrapper.optimizer == {"type": "Lamb", "lr": 0.008, "weight_decay": 0.02}

    def test_clipping_and_accumulation(self, old):
        config = {"grad_clip": {"max_norm": 5.0, "norm_type": 2}, "update_interval": 4, "_delete_": True}
        cfg = converted(old(optimizer_config=config))
        assert cfg.optim_wrapper.clip_grad == {"max_norm": 5.0, "norm_type": 2}
        assert cfg.optim_wrapper.accumulative_counts == 4

    def test_groups_decay_as_the_patterns_say(self, old):
        options = {
            r"(bn|ln|gn)(\d+)?.(weight|bias)": {"weight_decay": 0.0},
            "bias": {"weight_decay": 0.0},
            "head": {"lr": 0.05, "weight_decay": 1e-5},
            "layer4.1": {"lr_mult": 0.1},
            "layer[12]": {"weight_decay": 0.0},
        }
        text, report = convert_config(old(optimizer={"paramwise_options": options}))
        cfg = Config.fromstring(text, ".py")
        (lost,) = report.of("no equivalent")
        assert lost.key == "optimizer.paramwise_options.layer[12]"

        from openmix.registry import build_task

        task = build_task(cfg.model, device="meta")
        groups = split_groups(task.parameter_groups(), task, ParamwiseCfg(**cfg.optim_wrapper.paramwise_cfg))
        optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=1e-4)
        apply_multipliers(optimizer)
        name_of = {id(p): name for name, p in task.named_parameters()}
        found = {name_of[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
        assert found["backbone.conv1.weight"] == pytest.approx((0.1, 1e-4))
        assert found["backbone.layer2.0.bn1.weight"] == pytest.approx((0.1, 0.0))
        assert found["backbone.layer2.0.downsample.1.bias"] == pytest.approx((0.1, 0.0))
        assert found["head.fc.weight"] == found["head.fc.bias"] == pytest.approx((0.05, 1e-5))
        assert found["backbone.layer4.1.conv1.weight"] == pytest.approx((0.01, 1e-4))

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            (r"(bn|gn)(\d+)?.(weight|bias)", {"norm_decay_mult": 0.0}),
            (r"(bn|ln|gn)(\d+)?.(weight|bias)", {"norm_decay_mult": 0.0}),
            ("norm", {"norm_decay_mult": 0.0}),
            ("bn", {"norm_decay_mult": 0.0}),
            ("bn1", {"custom_keys": {"bn1": {"decay_mult": 0.0}}}),
            ("norm1", {"custom_keys": {"norm1": {"decay_mult": 0.0}}}),
            (r"bn(\d+)?.bias", None),
            (".*", None),
            ("(", None),
        ],
    )
    def test_patterns_that_mean_norms(self, old, pattern, expected):
        text, report = convert_config(old(optimizer={"paramwise_options": {pattern: {"weight_decay": 0.0}}}))
        assert Config.fromstring(text, ".py").optim_wrapper.get("paramwise_cfg") == expected
        assert len(report.of("no equivalent")) == (expected is None)

    def test_biases_are_not_those_of_norms(self, old):
        key = "optimizer.paramwise_options.bias"
        for options, verdict in (({}, "changed"), ({"norm": {"weight_decay": 0.0}}, "renamed")):
            options["bias"] = {"weight_decay": 0.0}
            _, report = convert_config(old(optimizer={"paramwise_options": options}))
            assert [entry.verdict for entry in report.entries if entry.key == key] == [verdict]

    def test_factors_of_no_weight_decay(self, old):
        options = {"bias": {"weight_decay": 0.0}, "head": {"weight_decay": 0.1}, "fc": {"dampening": 0.5}}
        text, report = convert_config(old(optimizer={"weight_decay": 0.0, "paramwise_options": options}))
        assert Config.fromstring(text, ".py").optim_wrapper.paramwise_cfg == {"bias_decay_mult": 0.0}
        head, fc = (entry.text for entry in report.of("no equivalent"))
        assert "whose weight_decay is 0" in head and fc.endswith("not dampening")

    def test_a_momentum_of_their_own(self, old):
        options = {"head": {"momentum": 0}, "layer4": {"momentum": 0.9, "lr": 0.1}, "layer3": {"lr": 0.2}}
        cfg = converted(old(optimizer={"paramwise_options": options}))
        keys = {"head": {"momentum": 0}, "layer3": {"lr_mult": 2.0}}
        assert cfg.optim_wrapper.paramwise_cfg == {"custom_keys": keys}, "layer4's are the optimizer's own"
        adamw = {"type": "AdamW", "lr": 0.1, "paramwise_options": {"head": {"momentum": 0}}, "_delete_": True}
        (lost,) = convert_config(old(optimizer=adamw))[1].of("no equivalent")
        assert lost.text == "the optimizer has no momentum"

    def test_norms_and_biases_of_a_key_are_no_exceptions(self, old):
        options = {"bias": {"weight_decay": 0.0}, "head": {"lr": 0.05}}
        _, report = convert_config(old(optimizer={"paramwise_options": options}))
        (entry,) = [entry for entry in report.entries if entry.key == "optimizer.paramwise_options.head"]
        assert entry.verdict == "changed" and "its norms and biases decay" in entry.text

    def test_mmcvs_own_groups(self, old):
        given = {"norm_decay_mult": 0.0, "bias_lr_mult": 2.0, "custom_keys": {"head": {"lr_mult": 10.0}}}
        text, report = convert_config(old(optimizer={"paramwise_cfg": given}))
        found = Config.fromstring(text, ".py").optim_wrapper.paramwise_cfg
        assert found == {"norm_decay_mult": 0.0, "custom_keys": {"head": {"lr_mult": 10.0}}}
        assert [entry.key for entry in report.of("no equivalent")] == ["optimizer.paramwise_cfg.bias_lr_mult"]

    def test_arguments_that_the_optimizer_does_not_take(self, old):
        _, report = convert_config(old(optimizer={"unheard": 1}))
        assert [entry.key for entry in report.of("no equivalent")] == ["optimizer.unheard"]
