"""AutoMix, SAMix and AdAutoMix of OpenMixup: the three recipes for CIFAR, those for large images, and what is lost."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mmengine.config import Config

from openmix.convert.config import check_text, convert_config
from openmix.convert.report import Report
from openmix.engine.config import load_config
from openmix.engine.distributed import World
from openmix.engine.run import dry_run
from openmix.errors import UserError
from openmix.registry import build_task

Convert = Callable[..., tuple[Config, Report]]

HOOK = {"type": "CosineScheduleHook", "end_momentum": 0.999999, "adjust_scope": [0.1, 1.0], "warming_up": "constant"}
FALLING = {"type": "CustomCosineAnnealingHook", "attr_name": "mask_loss", "attr_base": 0.1, "min_attr": 0.0}
LOSS = {"type": "CrossEntropyLoss", "use_soft": False, "use_sigmoid": False, "loss_weight": 1.0}
HEAD = {"type": "ClsMixupHead", "loss": LOSS, "with_avg_pool": True, "multi_label": False, "in_channels": 512}
BLOCK = {
    "type": "PixelMixBlock", "in_channels": 256, "reduction": 2, "use_scale": True, "double_norm": False,
    "attention_mode": "embedded_gaussian", "unsampling_mode": ["nearest"], "lam_concat": False, "lam_concat_v": False,
    "lam_mul": False, "lam_residual": False, "lam_mul_k": -1, "value_neck_cfg": None, "x_qk_concat": False,
    "x_v_concat": False, "mask_loss_mode": "L1", "mask_loss_margin": 0.1, "mask_mode": "none_v_", "frozen": False,
}  # fmt: skip
MODEL = {
    "type": "AutoMixup", "pretrained": None, "alpha": 2.0, "momentum": 0.999, "mask_layer": 2, "mask_loss": 0.1,
    "mask_adjust": 0, "lam_margin": 0.08, "mask_up_override": None, "debug": True,
    "backbone": {"type": "ResNet_CIFAR", "depth": 18, "num_stages": 4, "out_indices": (2, 3), "style": "pytorch"},
    "mix_block": BLOCK,
    "head_one": {**HEAD, "type": "ClsHead", "num_classes": 10},
    "head_mix": {**HEAD, "num_classes": 10},
    "head_weights": {"head_mix_q": 1, "head_one_q": 1, "head_mix_k": 1, "head_one_k": 1},
}  # fmt: skip
NECK = {
    "type": "ConvNeck", "in_channels": 256, "hid_channels": 128, "out_channels": 1, "num_layers": 2, "kernel_size": 1,
    "with_last_bn": False, "norm_cfg": {"type": "BN"}, "with_last_dropout": 0, "with_avg_pool": False,
    "with_residual": False,
}  # fmt: skip
SAMIX_BLOCK = {
    "unsampling_mode": ["bilinear"], "lam_mul": True, "lam_residual": True, "lam_mul_k": 0.25, "value_neck_cfg": NECK,
    "x_qk_concat": True, "mask_loss_mode": "L1+Variance",
}  # fmt: skip
JUDGE = {**HEAD, "loss": {**LOSS, "use_soft": True}, "multi_label": True, "neg_weight": 0.5, "num_classes": 10}
SAMIX = {**MODEL, "mix_block": {**BLOCK, **SAMIX_BLOCK}, "head_mix_k": JUDGE}
ADVERSARIAL = {
    **{key: MODEL[key] for key in ("pretrained", "momentum", "debug", "backbone", "head_one", "head_mix")},
    "type": "AdAutoMix", "alpha": 1.0, "mix_samples": 3, "is_random": False, "lam_margin": 0.03, "mixup_radio": 0.5,
    "beta_radio": 0.3, "head_weights": MODEL["head_weights"],
    "mix_block": {
        "type": "AdaptiveMask", "in_channel": 256, "reduction": 2, "lam_concat": False, "use_scale": True,
        "unsampling_mode": "bilinear", "scale_factor": 4, "frozen": False,
    },
}  # fmt: skip
SMALL = {"img_size": 32, "patch_size": 4}
CIFAR: dict[str, Any] = {"lr_config": {"policy": "CosineAnnealing", "min_lr": 0.05}, "custom_hooks": [HOOK]}


def converting(old: Callable[..., str], check: bool) -> Convert:
    def run(model: dict[str, Any], preset: str | None = None, **changes: Any) -> tuple[Config, Report]:
        text, report = convert_config(old(**{**CIFAR, **changes}, model={**model, "_delete_": True}), preset)
        if check:
            check_text(text)
        return Config.fromstring(text, ".py"), report

    return run


@pytest.fixture
def convert(old):
    """Convert a model with the rest of CIFAR's recipe."""
    return converting(old, check=False)


@pytest.fixture
def checked(old):
    """The same, and what comes out must pass the check."""
    return converting(old, check=True)


def changed(model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A model with other values; those of ``mix_block`` beside its own."""
    block = changes.pop("mix_block", {})
    return {**model, **changes, "mix_block": {**model["mix_block"], **block}}


def fate(report: Report, key: str) -> tuple[str, str]:
    (entry,) = [entry for entry in report.entries if entry.key == key]
    return entry.verdict, entry.text


class TestRecipes:
    def test_automix(self, checked):
        cfg, report = checked(MODEL)
        assert cfg.model == {
            "type": "AutoMixClassification",
            "backbone": {"type": "ResNet_CIFAR", "depth": 18},
            "mix_block": {"type": "PixelMixBlock", "lam_concat": False},
            "head": {"type": "ClsMixupHead", "num_classes": 10},
            "head_one": {"type": "ClsHead", "num_classes": 10},
        }
        assert cfg.param_scheduler == {"type": "CosineAnnealingLR", "eta_min": 0.05}
        assert "custom_hooks" not in cfg
        assert report.of("no equivalent") == report.of("refused") == []

    def test_samix(self, checked):
        cfg, report = checked(SAMIX)
        assert cfg.model == {
            "type": "SAMixClassification",
            "backbone": {"type": "ResNet_CIFAR", "depth": 18},
            "mix_block": {
                "type": "PixelMixBlock", "lam_concat": False, "lam_mul": True, "lam_mul_k": 0.25, "qk_concat": True,
                "value_layers": 2, "upsampling": "bilinear",
            },
            "head": {"type": "ClsMixupHead", "num_classes": 10},
            "head_one": {"type": "ClsHead", "num_classes": 10},
        }  # fmt: skip
        assert report.of("no equivalent") == report.of("refused") == []
        assert fate(report, "model.head_mix_k.neg_weight") == ("renamed", "-> model.eta, 0.5")
        verdict, text = fate(report, "model.preset")
        assert verdict == "changed"
        assert "--preset openmixup keeps that" in text
        cfg, report = checked(SAMIX, "openmixup")
        assert (cfg.model.preset, cfg.model.mix_block.lam_before_norm) == ("openmixup", True)
        assert fate(report, "model.preset")[0] == "kept"
        assert fate(report, "model.head_mix_k.neg_weight")[0] == "meaningless"

    def test_adautomix(self, checked):
        cfg, report = checked(ADVERSARIAL)
        assert cfg.model == {
            "type": "AdAutoMixClassification",
            "backbone": {"type": "ResNet_CIFAR", "depth": 18},
            "mix_block": {"type": "AdaptiveMask"},
            "head": {"type": "ClsMixupHead", "num_classes": 10},
            "head_one": {"type": "ClsHead", "num_classes": 10},
        }
        assert report.of("no equivalent") == report.of("refused") == []
        assert fate(report, "model.beta_radio") == ("renamed", "-> model.beta, 0.3")
        assert checked(ADVERSARIAL, "openmixup")[0].model.preset == "openmixup"

    def test_preset_of_automix(self, checked):
        """It says nothing to the mix block, whose lambda no norm cancels."""
        model = checked(MODEL, "openmixup")[0].model
        assert (model.preset, model.mix_block) == ("openmixup", {"type": "PixelMixBlock", "lam_concat": False})

    def test_wide_resnet(self, checked):
        """Whose mix block has a rate and a momentum of its own."""
        backbone = {"type": "WideResNet", "first_stride": 1, "depth": 28, "widen_factor": 8, "out_indices": (1, 2)}
        cfg, report = checked(
            changed(MODEL, backbone=backbone, mask_layer=1),
            optimizer={
                "type": "SGD", "lr": 0.03, "momentum": 0.9, "weight_decay": 0.001,
                "paramwise_options": {"mix_block": {"lr": 0.03, "momentum": 0}},
            },
            lr_config={"policy": "CosineAnnealing", "min_lr": 1e-3},
        )  # fmt: skip
        assert "mask_layer" not in cfg.model
        assert cfg.optim_wrapper.paramwise_cfg == {"custom_keys": {"mix_block": {"lr_mult": 1.0, "momentum": 0}}}
        assert fate(report, "model.backbone.out_indices") == ("renamed", "-> model.mask_layer=1, [1, 2]")
        assert report.of("no equivalent") == []

    def test_a_schedule_for_the_mix_block(self, checked):
        """Tiny-ImageNet's: each group of parameters has its own cosine."""
        cfg, report = checked(
            MODEL,
            optimizer={"lr": 0.2, "paramwise_options": {"mix_block": {"lr": 0.1}}},
            addtional_scheduler={"policy": "CosineAnnealing", "min_lr": 1e-3, "paramwise_options": ["mix_block"]},
        )
        assert cfg.optim_wrapper.paramwise_cfg == {"custom_keys": {"mix_block": {"lr_mult": 0.5}}}
        assert cfg.param_scheduler == [
            {"type": "CosineAnnealingLR", "eta_min": 0.05, "group": "student"},
            {"type": "CosineAnnealingLR", "eta_min": 0.001, "group": "mix_block"},
        ]
        assert report.of("no equivalent") == []

    def test_large_images(self, checked):
        """AutoMix with lambda as a channel, SAMix with dropout and lambda itself; a mask loss that falls to 0."""
        hooks = [{**HOOK, "end_momentum": 0.99999}, {**FALLING, "by_epoch": False}]
        cfg, _ = checked(changed(MODEL, mix_block={"lam_concat": True}), custom_hooks=hooks)
        assert cfg.model.mix_block == {"type": "PixelMixBlock"}
        assert (cfg.model.momentum_end, cfg.model.mask_loss_end) == (0.99999, 0.0)
        assert "custom_hooks" not in cfg
        block = {"lam_mul_k": -1, "value_neck_cfg": {**NECK, "with_last_dropout": 0.1}}
        judge = {**JUDGE, "neg_weight": 1}
        cfg, report = checked(changed(SAMIX, mix_block=block, head_mix_k=judge), custom_hooks=hooks)
        assert cfg.model.eta == 1.0
        assert cfg.model.mix_block.value_dropout == 0.1
        assert "lam_mul_k" not in cfg.model.mix_block
        assert report.of("no equivalent") == []

    def test_deit(self, checked):
        smooth = {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "num_classes": 10, "mode": "original"}
        head = {"type": "VisionTransformerClsHead", "loss": smooth, "in_channels": 384, "num_classes": 10}
        block = {key: BLOCK[key] for key in BLOCK if key not in ("mask_mode", "double_norm", "attention_mode")}
        model = {
            **MODEL, "switch_off": 0.8, "head_one_mix": True, "head_one": head, "head_mix": head,
            "backbone": {"type": "VisionTransformer", "arch": "deit-small", **SMALL, "out_indices": (5, 11)},
            "mix_block": {**block, "in_channels": 384, "lam_concat": True, "att_norm_cfg": None},
        }  # fmt: skip
        options = {"norm": {"weight_decay": 0.0}, "bias": {"weight_decay": 0.0}, "mix_block": {"lr": 1e-3}}
        adamw = {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05, "paramwise_options": options, "_delete_": True}
        warm = {"warmup_iters": 5, "warmup_by_epoch": True, "warmup_ratio": 1e-5}
        cosine = {"policy": "CosineAnnealing", "by_epoch": False, "min_lr": 1e-5, **warm}
        cfg, report = checked(
            model,
            optimizer=adamw,
            lr_config={**cosine, "warmup": "linear"},
            addtional_scheduler={**cosine, "min_lr": 1e-4, "paramwise_options": ["mix_block"]},
            custom_hooks=[{**HOOK, "end_momentum": 0.99999, "adjust_scope": [0.25, 1.0], "update_interval": 1}],
        )
        new = cfg.model
        assert (new.mask_layer, new.k_prob, new.head_one_mix, new.momentum_start) == (1, 0.8, True, 0.25)
        assert new.head == {"type": "ClsMixupHead", "num_classes": 10, "label_smoothing": 0.1}
        assert new.head_one == new.head
        assert cfg.optim_wrapper.paramwise_cfg == {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0}
        assert [(item.type, item.group) for item in cfg.param_scheduler] == [
            ("LinearLR", "student"), ("CosineAnnealingLR", "student"), ("CosineAnnealingLR", "mix_block"),
        ]  # fmt: skip
        assert fate(report, "model.mix_block.mask_mode")[0] == "changed"
        assert fate(report, "optimizer.paramwise_options.mix_block")[0] == "meaningless"
        assert report.of("no equivalent") == []

    @pytest.mark.parametrize("model", [MODEL, SAMIX, ADVERSARIAL], ids=lambda model: model["type"])
    def test_it_trains(self, old, tmp_path, model):
        text, _ = convert_config(old(**CIFAR, model={**model, "_delete_": True}))
        (tmp_path / "new.py").write_text(text)
        dry_run(load_config(str(tmp_path / "new.py")), str(tmp_path / "run"), World())


class TestKeys:
    def test_what_is_not_written_is_what_openmixup_has(self, convert):
        left_out = ("alpha", "mask_loss", "mask_adjust", "lam_margin", "momentum")
        model = {key: value for key, value in MODEL.items() if key not in left_out}
        model["mix_block"] = {"type": "PixelMixBlock", "in_channels": 256, "mask_loss_mode": "L1"}
        new = convert(model)[0].model
        assert (new.alpha, new.mask_loss, new.lam_margin, new.mask_margin) == (1.0, 0.0, 0.0, 0.0)
        assert new.mix_block == {"type": "PixelMixBlock", "lam_concat": False, "upsampling": "bilinear"}
        block = {"type": "AdaptiveMask", "in_channel": 256}
        assert convert({**ADVERSARIAL, "mix_block": block})[0].model.mix_block == {
            "type": "AdaptiveMask", "lam_concat": True, "upsampling": "nearest",
        }  # fmt: skip

    def test_numbers(self, convert):
        model = changed(MODEL, alpha=1, mask_loss=0.2, mask_adjust=0.25, lam_margin=-1, momentum=0.99)
        cfg, report = convert(model, "openmixup")
        found = {key: cfg.model[key] for key in ("alpha", "mask_loss", "mask_adjust", "lam_margin", "momentum")}
        assert found == {"alpha": 1, "mask_loss": 0.2, "mask_adjust": 0.25, "lam_margin": 0, "momentum": 0.99}
        assert cfg.model.preset == "openmixup"
        assert "other branch's lambda" in fate(report, "model.preset")[1]
        assert "preset" not in convert(model)[0].model
        model = {**ADVERSARIAL, "mix_samples": 2, "adv_interval": 4, "mixup_radio": 0.25, "beta_radio": 0.1}
        new = convert(model, "openmixup")[0].model
        assert (new.mix_samples, new.adv_interval, new.mixup_ratio, new.beta) == (2, 4, 0.25, 0.1)
        assert "preset" not in new, "it would change nothing"

    @pytest.mark.parametrize(
        ("backbone", "layer"),
        [
            ({"type": "ResNet_CIFAR", "depth": 18, "out_indices": (1, 3)}, 1),
            ({"type": "ResNet_CIFAR", "depth": 18, "out_indices": [3]}, 3),
            ({"type": "ResNet_CIFAR", "depth": 18}, None),
            ({"type": "ResNet_CIFAR", "depth": 18, "out_indices": (4, 5)}, None),
            ({"type": "WideResNet", "depth": 16, "widen_factor": 2, "out_indices": (0, 2)}, 0),
            ({"type": "SwinTransformer", "arch": "tiny", "out_indices": (2, 3)}, None),
            ({"type": "VisionTransformer", "arch": "deit-tiny", "out_indices": (8, 11)}, None),
            ({"type": "VisionTransformer", "arch": "deit-tiny", "out_indices": (4, 11)}, None),
            ({"type": "VisionTransformer", "arch": "large", "out_indices": (5, 23)}, 0),
        ],
    )
    def test_the_map_that_the_mix_block_sees(self, convert, backbone, layer):
        cfg, report = convert(changed(MODEL, backbone=backbone))
        assert cfg.model.get("mask_layer") == layer
        if layer is None and backbone.get("out_indices") in ((4, 5), (4, 11)):
            assert fate(report, "model.backbone.out_indices")[0] == "changed"

    def test_which_block_of_a_transformer_it_is(self, convert):
        """What the map's number here is the output of."""
        backbone = {"type": "VisionTransformer", "arch": "deit-tiny", **SMALL, "out_indices": (5, 11)}
        cfg, _ = convert(changed(MODEL, backbone=backbone))
        task = build_task(cfg.model, device="meta")
        assert task.backbone.stage_names[cfg.model.mask_layer] == "net.blocks.5"
        assert task.mix_block.query.in_channels == task.backbone.out_channels[1] + task.mix_block.lam_concat

    @pytest.mark.parametrize(
        ("mode", "expected"),
        [("L1", (0.1, 0)), ("L1+Variance", (0.1, 2)), ("Variance", (1, 1))],
    )
    def test_mask_losses(self, convert, mode, expected):
        """In numbers: OpenMixup's formulas, on shares whose mean is off."""
        cfg, _ = convert(changed(MODEL, mix_block={"mask_loss_mode": mode}))
        task = build_task(cfg.model, device="meta")
        assert (task.mask_margin, task.mask_variance) == expected
        own, lam = torch.tensor([[[0.9, 0.5], [0.7, 1.0]]]), torch.tensor(0.4)
        mean, variance = 0.775, torch.tensor([0.9, 0.5, 0.7, 1.0]).var(correction=0).item()
        off = max(abs(mean - 0.4) - 0.1, 0)
        value = {"L1": off, "L1+Variance": off - 2 * variance, "Variance": -variance}[mode]
        from openmix.ops.learned_masks import mask_loss

        assert mask_loss(own, lam, task.mask_margin, task.mask_variance).item() == pytest.approx(value)

    def test_a_mask_loss_that_is_none(self, convert):
        assert convert(changed(MODEL, mix_block={"mask_loss_mode": "none"}))[0].model.mask_loss == 0

    def test_how_momentum_rises(self, convert):
        new = convert(MODEL, custom_hooks=[])[0].model
        assert new.momentum_end == 0.999
        hook = {**HOOK, "warming_up": "linear", "adjust_scope": [0.0, 0.5]}
        cfg, report = convert(MODEL, custom_hooks=[hook])
        assert cfg.model.momentum_start == 0
        assert fate(report, "custom_hooks.0.warming_up")[0] == "changed"
        assert fate(report, "custom_hooks.0.adjust_scope")[0] == "changed"

    def test_other_hooks_stay_what_they_were(self, convert):
        saving = {"type": "SAVEHook", "save_interval": 12500, "iter_per_epoch": 500}
        hooks = [{"type": "EMAHook", "momentum": 0.99}, HOOK, {**FALLING, "attr_name": "cos_annealing"}, saving]
        cfg, report = convert(MODEL, custom_hooks=hooks)
        assert cfg.custom_hooks[0].type == "EMAHook"
        assert cfg.custom_hooks[1:] == [{"type": "MixPreviewHook", "interval": 25}]
        assert fate(report, "custom_hooks.2")[0] == "no equivalent"
        assert fate(report, "custom_hooks.1.end_momentum")[0] == "renamed"

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("mask_up_override", ["bilinear"]), ("pre_one_loss", 0.1), ("head_ensemble", True), ("backbone_k", {}),
            ("mix_shuffle_no_repeat", True), ("pretrained_k", "k.pth"), ("init_cfg", [{"type": "TruncNormal"}]),
        ],
    )  # fmt: skip
    def test_what_has_no_equivalent(self, convert, key, value):
        _, report = convert(changed(MODEL, **{key: value}))
        assert [entry.key for entry in report.of("no equivalent")] == [f"model.{key}"]

    @pytest.mark.parametrize(
        ("key", "value", "verdict"),
        [
            ("use_scale", False, "no equivalent"), ("pre_conv_cfg", {"type": "ConvNeck"}, "no equivalent"),
            ("unsampling_mode", ["bilinear", "nearest"], "no equivalent"), ("unsampling_mode", [], "refused"),
            ("unsampling_mode", "bicubic", "no equivalent"), ("mask_mode", "softmax", "changed"),
            ("mask_loss_mode", "L2", "refused"), ("att_norm_cfg", {"type": "BN"}, "meaningless"),
            ("lam_mul", 0.5, "changed"), ("lam_mul_k", [0.25, 1], "no equivalent"), ("lam_residual", False, "changed"),
            ("frozen", True, "no equivalent"), ("unheard", 1, "no equivalent"),
        ],
    )  # fmt: skip
    def test_mix_blocks(self, convert, key, value, verdict):
        _, report = convert(changed(SAMIX, mix_block={key: value}))
        assert fate(report, f"model.mix_block.{key}")[0] == verdict

    @pytest.mark.parametrize("other", [{"lam_mul": True}, {"x_qk_concat": True}, {"value_neck_cfg": NECK}], ids=repr)
    def test_lambda_is_a_channel_of_automixs_mix_block_alone(self, convert, other):
        """PixelMixBlock takes no other combination; the old file's key is named."""
        (entry,) = convert(changed(MODEL, mix_block={"lam_concat": True, **other}))[1].of("refused")
        assert entry.key == "model.mix_block.lam_concat"

    def test_value_networks(self, convert):
        def fate_of(key: str, value: Any) -> str:
            neck = {**NECK, key: value}
            return fate(convert(changed(SAMIX, mix_block={"value_neck_cfg": neck}))[1], f"{path}.{key}")[0]

        path = "model.mix_block.value_neck_cfg"
        assert fate_of("num_layers", 3) == "refused"
        assert fate_of("hid_channels", 64) == "changed"
        assert fate_of("with_residual", True) == "no equivalent"

    def test_the_mix_blocks_loss(self, convert):
        """It is head_mix's, or SAMix's own; another one cannot be had."""
        binary = {**JUDGE, "loss": {"type": "CrossEntropyLoss", "use_sigmoid": True}}
        for model in (MODEL, SAMIX):
            (entry,) = convert(changed(model, head_mix_k=binary))[1].of("refused")
            assert entry.key == "model.head_mix_k"
        _, report = convert(changed(MODEL, head_mix_k=JUDGE))
        assert report.of("refused") == []
        assert fate(report, "model.head_mix_k.neg_weight")[0] == "no equivalent"

    def test_weights_of_losses(self, convert):
        weights = {"head_mix_q": 1, "head_one_q": 0.5, "decent_weight": ["weight_mix_k"], "accent_weight": []}
        _, report = convert(changed(MODEL, head_weights=weights))
        lost = [entry.key for entry in report.of("no equivalent")]
        assert lost == ["model.head_weights.head_one_q", "model.head_weights.decent_weight"]

    def test_weights_to_begin_with(self, convert):
        assert convert(changed(MODEL, pretrained="r18.pth"))[0].load_from == "r18.pth"


@pytest.mark.parametrize("value", [..., None, 0, 0.5, True, "x", [], [1], [None], {}, {"a": 1}], ids=repr)
@pytest.mark.parametrize("model", [SAMIX, ADVERSARIAL], ids=lambda model: model["type"])
def test_malformed_values_are_the_users_errors(flat, damaged, monkeypatch, model, value):
    changes = {**CIFAR, "custom_hooks": [HOOK, FALLING], "addtional_scheduler": {"paramwise_options": ["mix_block"]}}
    content = flat(**changes, model={**model, "_delete_": True})
    content["optimizer"]["paramwise_options"] = {"mix_block": {"lr": 0.1, "momentum": 0}}
    mine = ("model", "custom_hooks", "addtional_scheduler", "optimizer")
    for place, changed in damaged({key: content[key] for key in mine}, value):
        whole = {**{key: inner for key, inner in content.items() if key not in mine}, **changed}
        monkeypatch.setattr("openmix.convert.config.read_old_config", lambda path, whole=whole: whole)
        try:
            convert_config("old.json")
        except UserError as error:
            assert str(error).split(":")[0].split(".")[0] in content, (place, error)  # names the key
