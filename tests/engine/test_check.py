"""Every mistake in a config is found before anything is read or trained, and named by file and key."""

import gc
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook
from torch import nn

from openmix.engine.config import config_text, load_config
from openmix.engine.config_hash import config_hash
from openmix.errors import UserError
from openmix.registry import HOOKS, MODELS


@pytest.fixture
def check(lab, tmp_path):
    """Write a config with some changes, load it with overrides, and return what is wrong with it."""

    def check(overrides: dict[str, Any] | None = None, **changes: Any) -> str:
        try:
            load_config(lab.write(tmp_path, **changes), overrides)
        except UserError as error:
            return str(error)
        return ""

    return check


@pytest.fixture
def registered():
    """Register classes for a test only."""
    names: list[tuple[Any, str]] = []

    def register(registry: Any, cls: type) -> None:
        registry.register_module(module=cls)
        names.append((registry, cls.__name__))

    yield register
    for registry, name in names:
        registry.module_dict.pop(name)


def nested(key: str, value: Any) -> dict[str, Any]:
    """Return {'a': {'b': value}} for the key a.b."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def test_the_config_of_these_tests_is_right(check):
    assert check() == ""


# a key, a wrong value for it, and what the message must say
WRONG: list[tuple[str, Any, str]] = [
    ("train_dataloder", 1, "train_dataloder: nothing reads this key; did you mean 'train_dataloader'?"),
    ("train_cfg.max_epoch", 1, "train_cfg.max_epoch: TrainCfg takes no 'max_epoch'; did you mean 'max_epochs'?"),
    ("model.mix_prb", [1], "model.mix_prb: MixUpClassification takes no 'mix_prb'; did you mean 'mix_prob'?"),
    ("model.backbone.widhts", [4], "model.backbone.widhts: ConvNet takes no 'widhts'; did you mean 'widths'?"),
    (
        "custom_hooks",
        [{"type": "EMAHook"}, {"type": "EMAHook", "momentm": 1}],
        "custom_hooks.1.momentm: EMAHook takes no 'momentm'; did you mean 'momentum'?",
    ),
    (
        "train_dataloader.pipeline",
        [{"type": "RandomCrop", "size": 8, "pading": 1}],
        "train_dataloader.pipeline.0.pading: RandomCrop takes no 'pading'; did you mean 'padding'?",
    ),
    (
        "param_scheduler",
        [{"type": "StepLR", "step_size": 1, "gama": 1}],
        "param_scheduler.0.gama: StepLR takes no 'gama'; did you mean 'gamma'?",
    ),
    (
        "optim_wrapper.optimizer.momentom",
        1,
        "optim_wrapper.optimizer.momentom: SGD takes no 'momentom'; did you mean 'momentum'?",
    ),
    (
        "optim_wrapper.clip_grad",
        {"max_norm": 1, "norm": 2},
        "optim_wrapper.clip_grad.norm: ClipGrad takes no 'norm'; did you mean",
    ),
    (
        "default_hooks.logger.intervall",
        1,
        "default_hooks.logger.intervall: LoggerHook takes no 'intervall'; did you mean 'interval'?",
    ),
    ("default_hooks.loger", {}, "default_hooks.loger: DefaultHooks takes no 'loger'; did you mean 'logger'?"),
    (
        "model",
        {"type": "MixupClassification"},
        "model.type: unknown task type 'MixupClassification'; did you mean 'MixUpClassification'?",
    ),
    (
        "model.backbone",
        {"type": "ConvNets"},
        "model.backbone.type: unknown model type 'ConvNets'; did you mean 'ConvNet'?",
    ),
    (
        "val_dataloader.dataset",
        {"type": "Digit"},
        "val_dataloader.dataset.type: unknown dataset type 'Digit'; did you mean 'Digits'?",
    ),
    (
        "train_dataloader",
        {"type": "DataLoader"},
        "train_dataloader.type: unknown loader type 'DataLoader'; did you mean",
    ),
    (
        "train_dataloader.pipeline",
        [{"type": "RandomCropp"}],
        "train_dataloader.pipeline.0.type: unknown transform type 'RandomCropp'; did you mean 'RandomCrop'?",
    ),
    (
        "optim_wrapper.optimizer",
        {"type": "SDG", "lr": 0.1},
        "optim_wrapper.optimizer.type: unknown optimizer type 'SDG'; did you mean 'SGD'?",
    ),
    (
        "param_scheduler",
        {"type": "CosineAnealingLR"},
        "param_scheduler.type: unknown param_scheduler type 'CosineAnealingLR'; did you mean 'CosineAnnealingLR'?",
    ),
    (
        "custom_hooks",
        [{"type": "EmaHook"}],
        "custom_hooks.0.type: unknown hook type 'EmaHook'; did you mean 'EMAHook'?",
    ),
    (
        "vis_backends",
        [{"type": "TensorBoardVisBackend"}],
        "vis_backends.0.type: unknown vis_backend type 'TensorBoardVisBackend'; did you mean 'TensorboardVisBackend'?",
    ),
    ("val_dataloader.dataset", {"type": None}, "a dataset needs a 'type'; known: CIFAR10"),
    ("model.mix_mode", ["mixup", "cutmx"], "unknown mixing method 'cutmx'; did you mean 'cutmix'?"),
    ("model.mix_args.cutmx", {}, "model.mix_args: unknown mixing method 'cutmx'; did you mean 'cutmix'?"),
    ("model.mix_args.cutmix.alfa", 1, "model.mix_args.cutmix.alfa: CutMix takes no 'alfa'; did you mean 'alpha'?"),
    ("model.mix_args.mixup.per_sample", "no", "model.mix_args.mixup.per_sample: must be bool, got 'no'"),
    ("custom_hooks", [{"type": "EarlyStoppingHook", "monitor": "top1"}], "works inside mmengine's own Runner alone"),
    ("model.head.num_classes", -1, "ClsMixupHead: Trying to create tensor with negative dimension"),
    ("train_cfg.max_epochs", "two", "train_cfg.max_epochs: must be int | None, got 'two'"),
    ("train_dataloader.batch_size", 8.5, "train_dataloader.batch_size: must be int, got 8.5"),
    ("data_preprocessor.mean", 0.5, "data_preprocessor.mean: must be Sequence[float], got 0.5"),
    ("model.backbone.widths", [4, "8"], "model.backbone.widths: must be Sequence[int], got [4, '8']"),
    ("train_cfg", 3, "train_cfg: must be a dict, got 3"),
    ("model", 3, "model: must be a dict with 'type', got 3"),
    ("randomness.seed", "zero", "randomness.seed: must be int, got 'zero'"),
    ("default_hooks.checkpoint.save_best", "top2", "save_best must be None or one of top1, top5, nll, ece, top1_NAME"),
    ("default_hooks.checkpoint.save_best", 1, "default_hooks.checkpoint.save_best: must be str | None, got 1"),
    (
        "default_hooks.checkpoint.save_best",
        "top1_k",
        "save_best must be None or one of top1, top5, nll, ece; got 'top1_k'",
    ),
    (
        "param_scheduler",
        {"type": "PolynomialLR", "group": "q"},
        "group='q', but this task's parameter groups have no names",
    ),
    ("param_scheduler", {"type": "PolynomialLR", "group": 3}, "param_scheduler.group: must be str | None, got 3"),
    ("custom_hooks", [{"type": "EMAHook", "priority": "HIHG"}], "custom_hooks.0.priority: must be"),
    (
        "param_scheduler",
        {"type": "StepLR", "step_size": 1, "by_epoch": "yes"},
        "param_scheduler.by_epoch: must be bool",
    ),
    ("optim_wrapper", None, "optim_wrapper: is missing"),
    ("model.head", {"type": "ClsHead"}, "model.head.num_classes: ClsHead needs it"),
    ("optim_wrapper.optimizer", None, "optim_wrapper.optimizer"),
    ("val_dataloader", {"type": "TorchLoader", "batch_size": 2}, "val_dataloader.dataset: TorchLoader needs it"),
    ("model.mix_prob", [0.4, 0.5], "mix_prob must be >= 0 and sum to 1, got [0.4, 0.5], which sums to 0.9"),
    ("model.mix_prob", [1.5, -0.5], "mix_prob must be >= 0"),
    ("model.mix_prob", [1.0], "mix_prob has 1 values for 2 modes"),
    ("model.alpha", [1, 1, 1], "alpha has 3 values for 2 modes"),
    ("model.mix_mode", [], "mix_mode names no method; known: adautomix, alignmix, "),
    ("model.mix_args", {"manifoldmix": {"layer": (0, 3)}}, "takes no 'layer'; write layers=(0, 1, 2)"),
    ("model.alpha", -1.0, "alpha"),
    ("model.mix_repeat", 0, "mix_repeat must be at least 1, got 0"),
    (
        "model",
        {"backbone": {"type": "ConvNet", "widths": [4], "in_channels": 1}, "mix_mode": "manifoldmix"},
        "layers must be numbers from 0 (input) to 1",
    ),
    ("optim_wrapper.clip_grad.max_norm", -1, "max_norm and norm_type must be above 0, got -1"),
    ("optim_wrapper.clip_grad", 1.0, "optim_wrapper.clip_grad: must be a dict"),
    ("optim_wrapper.clip_grad", {}, "optim_wrapper.clip_grad.max_norm: ClipGrad needs it"),
    ("optim_wrapper.clip_grad.max_norm", "1", "optim_wrapper.clip_grad.max_norm: must be float, got '1'"),
    ("train_cfg.val_interval", 0, "val_interval must be at least 1, got 0"),
    ("train_cfg.max_epochs", 0, "a run takes at least 1 epoch or step, got max_epochs=0"),
    (
        "train_cfg.max_iters",
        20,
        "one of max_epochs and max_iters must be a number, the other None; got max_epochs=2, max_iters=20",
    ),
    ("train_cfg.max_epochs", None, "one of max_epochs and max_iters must be a number"),
    ("optim_wrapper.accumulative_counts", 0, "accumulative_counts must be at least 1, got 0"),
    ("default_hooks.logger.interval", 0, "default_hooks.logger: interval must be at least 1, got 0"),
    ("default_hooks.checkpoint.max_keep_ckpts", 1, "max_keep_ckpts must be at least 2, got 1"),
    ("optim_wrapper.optimizer.lr", -0.1, "optim_wrapper.optimizer: SGD: Invalid learning rate: -0.1"),
    (
        "param_scheduler",
        {"type": "StepLR", "step_size": 1, "begin": 3, "end": 2},
        "param_scheduler: param_scheduler StepLR: begin 3 must lie before end 2",
    ),
    ("model.head.num_classes", 9, "the head has num_classes=9, but train_dataloader's data set has 10"),
    ("val_dataloader.dataset.num_classes", 5, "but val_dataloader's data set has 5"),
    (
        "data_preprocessor",
        {"mean": [0.5, 0.5, 0.5], "std": [1.0, 1.0, 1.0]},
        "data_preprocessor has mean and std for 3 channels, the images have 1",
    ),
    ("data_preprocessor.mean", [0.5, 0.5], "mean and std must have one value a channel"),
    ("data_preprocessor", {"mean": [], "std": []}, "mean and std must have one value a channel"),
    ("data_preprocessor", {"mean": [127.5], "std": [63.0]}, "for images in [0, 1]; divide by 255"),
    ("train_dataloader.pipeline", [{"type": "RandomCrop", "size": 12}], "RandomCrop cannot cut 12 x 12"),
    (
        "train_dataloader.pipeline",
        [{"type": "RandomRotation", "degrees": 5}],
        "ResidentLoader cannot augment with RandomRotation",
    ),
    (
        "train_dataloader",
        {
            "type": "TorchLoader",
            "batch_size": 2,
            "dataset": {"type": "Digits"},
            "pipeline": [{"type": "LinearTransformation"}],
        },
        "train_dataloader.pipeline.0.transformation_matrix: LinearTransformation needs it",
    ),
    (
        "train_dataloader",
        {"type": "TorchLoader", "batch_size": 2, "dataset": {"type": "Digits"}, "pipeline": [{"type": "ToPILImage"}]},
        "a pipeline must end in tensors of one shape",
    ),
    ("model.backbone.in_channels", 3, "model: the network fails on images of shape (1, 8, 8): RuntimeError: "),
    ("train_dataloader.batch_size", 0, "batch_size must be at least 1, not 0"),
    ("custom_hooks", [{"type": "EMAHook", "momentum": 2.0}], "momentum must be in (0, 1), got 2.0"),
    (
        "model.backbone",
        {"type": "ResNet_CIFAR", "depth": 19, "in_channels": 1},
        "depth must be one of 18, 34, 50, 101, 152, 200, got 19",
    ),
    ("model.head.label_smoothing", 1.0, "label_smoothing must be in [0, 1), got 1.0"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_mistake_is_named(check, key, value, message):
    said = check(**nested(key, value))
    assert message in said
    assert "tiny.py: " in said
    assert "Traceback" not in said


RIGHT: dict[str, list[tuple[str, Any]]] = {
    "lists for tuples": [("optim_wrapper.optimizer", {"type": "AdamW", "lr": 0.1, "betas": [0.9, 0.99]})],
    "tuples for lists": [("data_preprocessor", {"mean": (0.5,), "std": (0.5,)})],
    "ints for floats": [
        ("model", {"alpha": [1, 2], "mix_prob": [0, 1]}),
        ("data_preprocessor", {"mean": [0], "std": [1]}),
    ],
    "one value for a list": [("model", {"mix_mode": "cutmix", "alpha": 0.2})],
    "no validation": [("val_dataloader", None)],
    "no hooks": [("custom_hooks", None), ("vis_backends", None), ("param_scheduler", None), ("default_hooks", {})],
    "hook types spelt out": [
        ("default_hooks", {"checkpoint": {"type": "CheckpointHook"}, "logger": {"type": "LoggerHook"}})
    ],
    "a hook's priority": [
        ("custom_hooks", [{"type": "EMAHook", "priority": "VERY_HIGH"}, {"type": "EMAHook", "priority": 30}])
    ],
    "mmengine's hook": [("custom_hooks", [{"type": "EmptyCacheHook"}])],
    "max_iters": [("train_cfg", {"max_epochs": None, "max_iters": 20})],
    "a schedule later than the end": [
        ("param_scheduler", [{"type": "LinearLR", "end": 5}, {"type": "CosineAnnealingLR", "begin": 5}])
    ],
    "timm's optimizer": [("optim_wrapper.optimizer", {"type": "Lamb", "lr": 0.1})],
    "a plain head for mixing": [("model.head", {"type": "ClsHead", "num_classes": 10})],
    "plain classification": [
        (
            "model",
            {
                "type": "Classification",
                "backbone": {"type": "ConvNet", "in_channels": 1},
                "head": {"type": "ClsMixupHead", "num_classes": 10},
            },
        )
    ],
    "a norm": [("optim_wrapper.clip_grad", {"max_norm": 1, "norm_type": 1})],
}


@pytest.mark.parametrize("changes", RIGHT.values(), ids=RIGHT)
def test_right_configs_are_not_refused(check, changes):
    tree: dict[str, Any] = {}
    for key, value in changes:
        tree |= nested(key, value)
    assert check(**tree) == ""


def test_all_mistakes_are_named_at_once(check):
    said = check(train_cfg={"max_epoch": 1}, model={"backbone": {"type": "ConfNet"}}, nonsense=1).splitlines()
    assert len(said) == 3
    said = check(train_cfg={"val_interval": 0}, model={"mix_repeat": 0}, optim_wrapper={"accumulative_counts": 0})
    assert len(said.splitlines()) == 3


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # mmengine's, where a config fails
class TestOrigin:
    """The message names the file in which the mistake was written, or the command line."""

    @pytest.fixture(autouse=True)
    def collect_mmengines_open_files(self):
        yield
        gc.collect()

    @pytest.fixture
    def family(self, lab, tmp_path):
        """A config that is based on one that is based on one."""

        def write(child: str = "", base: str = "", **changes: Any) -> str:
            lab.write(tmp_path, "grandparent", **changes)
            (tmp_path / "parent.py").write_text(f"_base_ = ['./grandparent.py']\n{base}\n")
            (tmp_path / "child.py").write_text(f"_base_ = 'parent.py'\n{child}\n")
            return str(tmp_path / "child.py")

        return write

    def said(self, path: str, overrides: dict[str, Any] | None = None) -> str:
        with pytest.raises(UserError) as error:
            load_config(path, overrides)
        return str(error.value)

    def test_right(self, family):
        load_config(family("train_cfg = dict(max_epochs=5)", "model = dict(alpha=0.5)"))

    @pytest.mark.parametrize(
        ("child", "base", "changes", "file", "key"),
        [
            ("train_cfg = dict(max_epoch=5)", "", {}, "child", "train_cfg.max_epoch"),
            ("", "train_cfg = {'max_epoch': 5}", {}, "parent", "train_cfg.max_epoch"),
            ("", "", {"train_cfg": {"max_epoch": 5}}, "grandparent", "train_cfg.max_epoch"),
            # the child, too, writes a 'type' and a 'backbone', but not this type
            (
                "optim_wrapper = dict(optimizer=dict(type='SGD'))",
                "model = dict(backbone=dict(type='ConfNet'))",
                {},
                "parent",
                "model.backbone.type",
            ),
            (
                "model = dict(backbone=dict(widths=[3]))",
                "",
                {"model": {"backbone": {"type": "ConfNet"}}},
                "grandparent",
                "model.backbone.type",
            ),
            ("custom_hooks = [dict(type='EMAHook'), dict(type='EMAHok')]", "", {}, "child", "custom_hooks.1.type"),
            ("model = dict(head=dict(_delete_=True, type='ClsHead'))", "", {}, "child", "model.head.num_classes"),
            ("model = dict(mix_mode='cutmx')", "", {}, "child", "model.mix_mode"),
            ("", "data_preprocessor = dict(mean=[2.0])", {}, "parent", "data_preprocessor"),
        ],
    )
    def test_file(self, family, tmp_path, child, base, changes, file, key):
        said = self.said(family(child, base, **changes))
        assert Path(said.split(": ")[0]).resolve() == tmp_path / f"{file}.py"
        assert said.split(": ")[1] == key

    def test_command_line(self, family):
        path = family()
        assert self.said(path, {"train_cfg.max_epoch": 5}).startswith("--cfg-options: train_cfg.max_epoch: ")
        assert self.said(path, {"model.backbone.type": "ConfNet"}).startswith("--cfg-options: model.backbone.type: ")
        assert self.said(path, {"nonsense": 1}).startswith("--cfg-options: nonsense: nothing reads this key")
        assert self.said(path, {"train_cfg": {"max_epoch": 5}}).startswith("--cfg-options: train_cfg.max_epoch: ")

    def test_file_and_command_line_together(self, family):
        """A key that fitted before the command line changed its neighbour."""
        said = self.said(family(), {"model.backbone.type": "ResNet_CIFAR"})
        assert "grandparent.py with --cfg-options: model.backbone.widths: ResNet_CIFAR takes no 'widths'" in said
        assert self.said(family(), {"model.mix_mode": "cutmx"}).startswith("--cfg-options: model.mix_mode: ")

    def test_override_that_does_not_fit(self, family):
        assert self.said(family(), {"train_cfg.max_epochs.deep": 1}).startswith("--cfg-options do not fit ")

    @pytest.mark.parametrize("broken", ["child", "parent", "grandparent"])
    def test_syntax_error(self, family, tmp_path, broken):
        path = family()
        with open(tmp_path / f"{broken}.py", "a") as file:
            file.write("\nmodel = dict(\n")
        said = self.said(path)
        assert f"{broken}.py, line " in said
        assert "this is not Python" in said
        assert len(said.splitlines()) == 1

    def test_missing_base(self, family, tmp_path):
        path = family()
        (tmp_path / "grandparent.py").unlink()
        said = self.said(path)
        assert "child.py: a file that it is based on is missing" in said
        assert "grandparent.py" in said

    def test_missing_config(self):
        assert self.said("nowhere/config.py") == "no config file nowhere/config.py"
        assert self.said(str(Path(__file__).parent)).startswith("no config file")

    def test_config_that_fails(self, family):
        said = self.said(family("model = dict(alpha=1 / 0)"))
        assert said.endswith("child.py failed while it was read: ZeroDivisionError: division by zero")

    def test_base_of_itself(self, tmp_path):
        (tmp_path / "loop.py").write_text("_base_ = './loop.py'\n")
        assert "loop.py is based on itself" in self.said(str(tmp_path / "loop.py"))

    def test_custom_import_that_is_missing(self, family):
        said = self.said(family("custom_imports = dict(imports=['no_such_module_anywhere'])"))
        assert "failed while it was read: ImportError" in said
        assert "no_such_module_anywhere" in said


class PlainBackbone(nn.Module):
    """A user's network that does not tell its channels, and computes with numbers while it is made."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        import torch

        self.conv = nn.Conv2d(1, 6, 3)
        self.scale = [x.item() for x in torch.linspace(0, scale, 3)][-1]

    def forward(self, images: Any) -> Any:
        return (self.conv(images) * self.scale,)


class TestUsersParts:
    def test_backbone_without_out_channels(self, check, registered):
        registered(MODELS, PlainBackbone)
        model = {"backbone": {"type": "PlainBackbone", "scale": 2}}
        assert "PlainBackbone has no out_channels" in (said := check(model=model))
        assert "write head.in_channels" in said
        assert check(model={**model, "head": {"in_channels": 6}}) == ""
        assert "PlainBackbone takes no 'scal'; did you mean 'scale'?" in check(
            model={"backbone": {"type": "PlainBackbone", "scal": 2}}
        )

    def test_hook_that_is_none(self, check, registered):
        class NoHook:
            pass

        registered(HOOKS, NoHook)
        assert "custom_hooks: NoHook is not an mmengine Hook" in check(custom_hooks=[{"type": "NoHook"}])

    def test_hook_with_arguments(self, check, registered):
        class Says(Hook):
            def __init__(self, word: str) -> None:
                self.word = word

        registered(HOOKS, Says)
        assert check(custom_hooks=[{"type": "Says", "word": "hello"}]) == ""
        assert "custom_hooks.0.word: must be str, got 3" in check(custom_hooks=[{"type": "Says", "word": 3}])


def test_checking_reads_no_data_and_draws_nothing(lab, tmp_path, monkeypatch):
    import torch

    from openmix.data import Digits

    monkeypatch.setattr(Digits, "__init__", lambda *a, **k: pytest.fail("the data set was read"))
    state = torch.get_rng_state()
    load_config(lab.write(tmp_path, val_dataloader={"dataset": {"type": "Digits", "size": 8}}))
    assert torch.equal(torch.get_rng_state(), state)


class TestText:
    def test_text_is_a_config_that_says_the_same(self, lab, tmp_path):
        cfg = load_config(lab.write(tmp_path, model={"alpha": (1, 0.5)}), {"train_cfg.max_epochs": 7})
        (tmp_path / "again.py").write_text(config_text(cfg))
        again = load_config(str(tmp_path / "again.py"))
        assert again.to_dict() == {**cfg.to_dict(), "model": {**cfg.model.to_dict(), "alpha": [1, 0.5]}}
        assert config_hash(again) == config_hash(cfg)

    def test_hash_tells_what_is_computed_not_where(self, lab, tmp_path):
        path = lab.write(tmp_path)
        plain = config_hash(load_config(path))
        for key, value in {"work_dir": "x", "resume": True, "vis_backends": [{"type": "LocalVisBackend"}]}.items():
            assert config_hash(load_config(path, {key: value})) == plain
        for key, value in {"randomness.seed": 1, "train_cfg.max_epochs": 3, "model.alpha": 0.5}.items():
            assert config_hash(load_config(path, {key: value})) != plain

    def test_work_dir_is_named_after_the_config(self, lab, tmp_path):
        assert load_config(lab.write(tmp_path, "r18")).work_dir == str(Path("work_dirs/r18"))
        assert load_config(lab.write(tmp_path, "r18", work_dir="here")).work_dir == "here"
