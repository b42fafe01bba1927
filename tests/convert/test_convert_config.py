"""OpenMixup's configs become openmix's: what each key turns into, that nothing is lost unsaid, and that they train."""

import ast
import json
from collections.abc import Mapping
from typing import Any

import pytest
from mmengine.config import Config

from openmix.convert.config import check_text, convert_config
from openmix.convert.report import Report
from openmix.engine.config import load_config
from openmix.engine.distributed import World
from openmix.engine.run import dry_run
from openmix.errors import UserError


def converted(path: str, preset: str | None = None) -> tuple[dict[str, Any], Report]:
    """Return what the converted file says, and the report."""
    text, report = convert_config(path, preset)
    return Config.fromstring(text, ".py").to_dict(), report


def fate(report: Report, key: str) -> tuple[str, str]:
    (entry,) = [entry for entry in report.entries if entry.key == key]
    return entry.verdict, entry.text


def test_the_whole_of_a_config(old):
    cfg, report = converted(old())
    cifar = {"type": "CIFAR10", "data_root": "data/cifar10"}
    assert cfg == {
        "model": {
            "type": "MixUpClassification",
            "backbone": {"type": "ResNet_CIFAR", "depth": 18},
            "head": {"type": "ClsHead", "num_classes": 10},
            "mix_mode": "cutmix",
            "alpha": 1,
        },
        "data_preprocessor": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]},
        "train_dataloader": {
            "type": "ResidentLoader",
            "batch_size": 100,
            "dataset": {**cifar, "split": "train"},
            "pipeline": [{"type": "RandomCrop", "size": 32, "padding": 4}, {"type": "RandomHorizontalFlip"}],
        },
        "val_dataloader": {"type": "ResidentLoader", "batch_size": 50, "dataset": {**cifar, "split": "test"}},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0001}},
        "param_scheduler": {"type": "CosineAnnealingLR", "eta_min": 0.0},
        "train_cfg": {"max_epochs": 400},
        "default_hooks": {"checkpoint": {"interval": 10}, "logger": {"interval": 20}},
        "vis_backends": [{"type": "TensorboardVisBackend"}],
    }
    assert report.of("refused") == report.of("no equivalent") == []


def test_it_needs_no_other_file_and_says_where_it_came_from(old, tmp_path):
    text, _ = convert_config(old("my_run", seed=3))
    (tmp_path / "new.py").write_text(text)
    cfg = load_config(str(tmp_path / "new.py"))
    assert cfg.randomness == {"seed": 3}
    assert text.startswith('"""my_run.py of OpenMixup, converted by openmix ')
    assert "_base_" not in text and max(map(len, text.splitlines())) <= 120 and len(text.splitlines()) < 40


def test_it_trains(old, tmp_path):
    text, _ = convert_config(old(model={"backbone": {"depth": 18}, "mix_mode": ["cutmix", "manifoldmix"], "alpha": 1}))
    (tmp_path / "new.py").write_text(text)
    notes = dry_run(load_config(str(tmp_path / "new.py")), str(tmp_path / "run"), World())
    assert all("random images" in note for note in notes)


def test_what_is_lost_stands_in_the_docstring(old):
    """Patterns of parameter names are no escapes of a string."""
    patterns = {rf"layer{i}.(\d+)?": {"weight_decay": 0.0} for i in range(9)}
    text, report = convert_config(old(optimizer={"paramwise_options": patterns}))
    doc = " ".join(Config.fromstring(text, ".py") and ast.get_docstring(ast.parse(text)).split())
    assert len(report.of("no equivalent")) == 9
    assert all(entry.key in doc for entry in report.of("no equivalent"))
    assert max(map(len, text.splitlines())) <= 120


def leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, Mapping) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{path}.{key}" if path else key)]
    return [path]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": {"paramwise_options": {"bias": {"weight_decay": 0.0}}}},
        {"custom_hooks": [{"type": "EMAHook", "momentum": 0.99, "warmup": "linear"}, {"type": "SAVEHook", "x": 1}]},
        {"lr_config": {"warmup": "linear", "warmup_iters": 5, "warmup_by_epoch": True, "warmup_ratio": 0.1}},
        {"model": {"head": {"unheard": 1, "loss": {"of": 2}}, "backbone": {"it": 3}, "mix_args": {"cutmix": {"a": 4}}}},
        {
            "data": {"train": {"unheard": 1}, "of": 2},
            "evaluation": {"it": 3},
            "runner": {"a": 4},
            "lr_config": {"b": 5},
        },
        {
            "model": {"type": "AutoMixup", "mix_block": {"type": "PixelMixBlock"}},
            "addtional_scheduler": {"policy": "x"},
        },
    ],
)
def test_every_key_is_reported(old, changes):
    """The key itself, or one above or below it, and none twice."""
    path = old(**changes)
    _, report = convert_config(path)
    keys = [entry.key for entry in report.entries]
    assert len(keys) == len(set(keys))
    for leaf in leaves(Config.fromfile(path).to_dict()):
        related = [key for key in keys if f"{leaf}.".startswith(f"{key}.") or key.startswith(f"{leaf}.")]
        assert related, leaf


def test_every_line_of_the_report_has_a_verdict_and_a_text(old):
    _, report = convert_config(old(lr_config={"strange": 1}))
    *lines, total = report.lines()
    assert all(entry.text for entry in report.entries) and len(lines) == len(report.entries)
    assert total.startswith(f"{len(lines)} keys: ") and "1 no equivalent" in total
    assert any(line.split() [:3] == ["no", "equivalent", "lr_config.strange"] for line in lines)  # fmt: skip


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_generated_files(flat, tmp_path, suffix):
    """YAML takes JSON in as it is."""
    path = tmp_path / f"old.{suffix}"
    path.write_text(json.dumps(flat()))
    cfg, _ = converted(str(path))
    assert cfg["model"]["mix_mode"] == "cutmix" and cfg["train_dataloader"]["batch_size"] == 100


class TestMixing:
    def test_methods_are_their_authors_unless_the_preset_is_asked_for(self, old):
        path = old(model={"mix_mode": ["cutmix", "resizemix", "vanilla"], "alpha": [0.2, 1, 1]})
        cfg, report = converted(path)
        assert cfg["model"]["mix_args"] == {"resizemix": {"use_alpha": True}}
        verdict, text = fate(report, "model.mix_args.resizemix.preset")
        assert verdict == "changed" and "placement='clip' for 'inside'" in text.replace('"', "'")
        cfg, report = converted(path, "openmixup")
        assert cfg["model"]["mix_args"] == {
            "cutmix": {"preset": "openmixup"},
            "resizemix": {"preset": "openmixup", "use_alpha": True},
        }
        assert fate(report, "model.mix_args.cutmix.preset")[0] == "kept"
        assert not [entry for entry in report.entries if entry.key.startswith("model.mix_args.vanilla")]

    def test_the_preset_changes_what_is_drawn(self, old, tmp_path):
        (tmp_path / "new.py").write_text(convert_config(old(model={"mix_mode": "resizemix"}), "openmixup")[0])
        from openmix.registry import build_task

        mixer = build_task(load_config(str(tmp_path / "new.py")).model, device="meta").mixers[0]
        assert mixer.hyper["placement"] == "clip" and mixer.hyper["per_sample_box"] is False

    def test_arguments(self, old):
        args = {"fmix": {"max_soft": 0.5}, "manifoldmix": {"layer": (1, 3)}, "cutmix": {"unheard": 1}}
        cfg, report = converted(old(model={"mix_mode": ["fmix", "manifoldmix", "cutmix"], "mix_args": args}))
        assert cfg["model"]["mix_args"] == {"fmix": {"max_soft": 0.5}, "manifoldmix": {"layers": [1, 2]}}
        assert fate(report, "model.mix_args.fmix.size")[0] == "meaningless"
        assert fate(report, "model.mix_args.fmix.decay_power") == ("kept", "3, openmix's default as well")
        assert fate(report, "model.mix_args.cutmix.unheard")[0] == "no equivalent"
        assert fate(report, "model.mix_args.automix") == ("meaningless", "mix_mode does not name it")

    def test_choices(self, old):
        model = {"mix_mode": ["mixup", "cutmix"], "alpha": [0.1, 1], "mix_prob": [0.4, 0.6], "mix_repeat": 2}
        cfg, _ = converted(old(model=model))
        assert {key: cfg["model"][key] for key in model} == model

    def test_what_says_nothing_is_left_out(self, old):
        cfg, _ = converted(old(model={"mix_prob": None, "mix_repeat": False}))
        assert "mix_prob" not in cfg["model"] and "mix_repeat" not in cfg["model"]

    def test_a_teacher_is_not_forgotten(self, old, monkeypatch):
        """OpenMixup names it beside the methods; whoever needs one here is told otherwise."""
        model = {"backbone_k": {"type": "ResNet"}, "pretrained_k": "r18.pth"}
        assert fate(convert_config(old(model=model))[1], "model.backbone_k")[0] == "meaningless"
        from openmix.mixers.catalog import get_method

        monkeypatch.setitem(get_method("cutmix").__dict__, "needs", ("features",))
        assert fate(convert_config(old(model=model))[1], "model.backbone_k")[0] == "no equivalent"

    def test_puzzle_mix(self, old, tmp_path):
        """The row of OpenMixup's benchmark: its options are the authors' defaults here, but for how they are spelt."""
        options = {
            "transport": True, "t_batch_size": None, "t_size": 4, "block_num": 5, "beta": 1.2, "gamma": 0.5, "eta": 0.2,
            "neigh": 4, "n_labels": 3, "t_eps": 0.8,
        }  # fmt: skip
        path = old(model={"mix_mode": "puzzlemix", "mix_args": {"puzzlemix": options}})
        cfg, report = converted(path)
        assert "mix_args" not in cfg["model"] and report.of("no equivalent") == report.of("refused") == []
        assert fate(report, "model.mix_args.puzzlemix.block_num")[0] == "renamed"
        options |= {"block_num": 4, "t_size": -1}
        cfg, _ = converted(old(model={"mix_mode": "puzzlemix", "mix_args": {"puzzlemix": options}}))
        assert cfg["model"]["mix_args"] == {"puzzlemix": {"block_nums": [2, 4, 8], "t_size": None}}
        (tmp_path / "new.py").write_text(convert_config(path)[0])
        load_config(str(tmp_path / "new.py"))

    def test_a_guide_has_to_be_written(self, old):
        options = {"grid_size": 32, "top_k": None, "beta": 8}
        teacher = {"backbone_k": {"type": "ResNet"}, "pretrained_k": "r18.pth"}
        path = old(model={"mix_mode": "attentivemix", "mix_args": {"attentivemix": options}, **teacher})
        cfg, report = converted(path)
        assert cfg["model"]["mix_args"] == {"attentivemix": {"top_k": None}}
        for key in teacher:
            verdict, text = fate(report, f"model.{key}")
            assert verdict == "no equivalent" and "FrozenGuide" in text

    def test_methods_that_openmix_lacks(self, old):
        _, report = convert_config(old(model={"mix_mode": ["mixup", "xyz123", "cutmx"]}))
        (entry,) = report.of("refused")
        assert entry.key == "model.mix_mode"
        assert entry.text.startswith("openmix has no mixing method xyz123, cutmx; cutmx; did you mean 'cutmix'?")


SOFT = {"type": "CrossEntropyLoss", "use_soft": True, "use_sigmoid": False}
SIGMOID = {"type": "CrossEntropyLoss", "use_soft": False, "use_sigmoid": True}
DECOUPLED = {**SOFT, "use_mix_decouple": True}
BCE = {"type": "MixBinaryCrossEntropy", "class_reduction": "sum"}


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"loss": SOFT, "multi_label": True}, {}),
        ({"loss": SIGMOID, "multi_label": True, "two_hot": False, "two_hot_scale": 1}, {"loss": BCE}),
        ({"loss": SIGMOID, "two_hot": True}, {"loss": {**BCE, "two_hot": "one"}}),
        (
            {"loss": SIGMOID, "two_hot": True, "lam_scale_mode": "pow", "lam_thr": 0.8, "lam_idx": 0.5},
            {"loss": {**BCE, "two_hot": "pow", "threshold": 0.8, "exponent": 0.5}},
        ),
        ({"loss": DECOUPLED, "eta_weight": {"eta": 0, "mode": "both", "thr": 0.5}}, {}),
        (
            {"loss": DECOUPLED, "lam_scale_mode": "pow", "lam_thr": 1, "lam_idx": 1, "eta_weight": {"eta": 0.1}},
            {"loss": {"type": "DecoupledCrossEntropy", "eta": 0.1}},
        ),
        (
            {"loss": DECOUPLED, "eta_weight": {"eta": 0.5, "mode": "less", "thr": 0.5}},
            {"loss": {"type": "DecoupledCrossEntropy", "eta": 0.5, "mode": "less", "exponent": 0}},
        ),
        ({"loss": {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "num_classes": 10}}, {"label_smoothing": 0.1}),
        (
            {"loss": {"type": "LabelSmoothLoss", "label_smooth_val": 0.25, "mode": "classy_vision"}},
            {"label_smoothing": 0.2},
        ),
    ],
)
def test_losses(old, head, expected):
    head = {"type": "ClsMixupHead", **head, "loss": {**head["loss"], "_delete_": True}}
    text, report = convert_config(old(model={"head": head}))
    new = Config.fromstring(text, ".py").model.head.to_dict()
    assert new == {"type": "ClsMixupHead", "num_classes": 10, **expected}
    assert report.of("refused") == []
    check_text(text)


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ({"type": "ResNet", "depth": 50}, {"type": "ResNet", "depth": 50, "zero_init_residual": True}),
        ({"type": "ResNeXt_CIFAR_Mix", "depth": 50, "groups": 32, "width_per_group": 4},
         {"type": "ResNeXt_CIFAR", "depth": 50, "groups": 32, "width_per_group": 4}),
        ({"type": "WideResNet_Mix", "first_stride": 1, "depth": 28, "widen_factor": 8, "drop_rate": 0.1,
          "frozen_stages": -1, "out_indices": (2,)},
         {"type": "WideResNet", "depth": 28, "widen_factor": 8, "drop_rate": 0.1, "variant": "openmixup"}),
        ({"type": "VisionTransformer", "arch": "deit-s", "img_size": 224, "patch_size": 16, "drop_path_rate": 0.1},
         {"type": "TimmBackbone", "name": "deit_small_patch16_224", "drop_path_rate": 0.1}),
        ({"type": "VisionTransformer", "arch": "deit-tiny", "img_size": 32, "patch_size": 4},
         {"type": "TimmBackbone", "name": "deit_tiny_patch16_224", "img_size": 32, "model_args": {"patch_size": 4}}),
        ({"type": "SwinTransformer", "arch": "T"}, {"type": "TimmBackbone", "name": "swin_tiny_patch4_window7_224"}),
        ({"type": "ConvNeXt", "arch": "tiny"}, {"type": "TimmBackbone", "name": "convnext_tiny"}),
        ({"type": "TIMMBackbone", "model_name": "resnet18", "pretrained": True},
         {"type": "TimmBackbone", "name": "resnet18", "pretrained": True}),
    ],
    ids=lambda value: value["type"],
)  # fmt: skip
def test_networks(old, backbone, expected):
    cfg, report = converted(old(model={"backbone": {**backbone, "_delete_": True}}))
    assert cfg["model"]["backbone"] == expected
    assert [entry.text for entry in report.of("refused")] == []
    from openmix.registry import MODELS, build

    build(expected, MODELS) if "Timm" not in expected["type"] else None


def test_deits_recipe_passes(old):
    pipeline = [
        {"type": "RandomResizedCrop", "size": 224, "interpolation": 3},
        {"type": "RandomHorizontalFlip"},
        {"type": "RandAugment", "policies": [], "magnitude_level": 9, "magnitude_std": 0.5, "num_policies": 2},
        {"type": "RandomErasing_numpy", "erase_prob": 0.25, "mode": "rand", "fill_color": [104, 116, 124]},
    ]
    source = {"type": "ImageNet", "list_file": "train.txt", "root": "data/ImageNet/train", "_delete_": True}
    test_pipeline = [{"type": "Resize", "size": 256, "interpolation": 3}, {"type": "CenterCrop", "size": 224}]
    head = {"type": "VisionTransformerClsHead", "num_classes": 1000, "in_channels": 192, "_delete_": True}
    path = old(
        model={
            "alpha": [0.8, 1.0],
            "mix_mode": ["mixup", "cutmix"],
            "backbone": {"type": "VisionTransformer", "arch": "deit-tiny", "img_size": 224, "_delete_": True},
            "head": {**head, "loss": {"type": "LabelSmoothLoss", "label_smooth_val": 0.1, "num_classes": 1000}},
        },
        data={
            "train": {"data_source": source, "pipeline": pipeline},
            "val": {"data_source": {**source, "root": "data/ImageNet/val"}, "pipeline": test_pipeline},
        },
        optimizer={"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05, "betas": (0.9, 0.999), "_delete_": True},
        use_fp16=True,
    )
    text, report = convert_config(path, "openmixup")
    assert report.of("refused") == report.of("no equivalent") == []
    check_text(text)


@pytest.mark.parametrize(
    ("changes", "key", "text"),
    [
        (
            {"model": {"type": "MergeMix"}},
            "model.type",
            "MixUpClassification, Classification, AutoMixup, AdAutoMix, not",
        ),
        ({"model": {"backbone": {"type": "RWKV"}}}, "model.backbone.type", "openmix has no network RWKV"),
        ({"model": {"backbone": {"style": "caffe"}}}, "model.backbone.style", '"caffe"'),
        ({"model": {"backbone": {"type": "ConvNeXt", "arch": "atto"}}}, "model.backbone.arch", "not atto"),
        ({"model": {"head": {"type": "ArcHead"}}}, "model.head.type", "openmix has no head ArcHead"),
        ({"model": {"head": {"loss": {"type": "FocalLoss"}}}}, "model.head.loss.type", "openmix has no FocalLoss"),
        ({"optimizer": {"type": "Nosuch"}}, "optimizer.type", "neither torch nor timm has an optimizer Nosuch"),
        ({"lr_config": {"policy": "Cyclic"}}, "lr_config.policy", "openmix has no schedule Cyclic"),
        ({"lr_config": {"policy": "Poly", "min_lr": 0.1}}, "lr_config.policy", "no schedule Poly with a floor"),
        ({"runner": {"_delete_": True}}, "runner", "neither runner nor total_epochs"),
        (
            {"data": {"train": {"data_source": {"type": "MNIST"}}}},
            "data.train.data_source.type",
            "no data set for MNIST",
        ),
        ({"data": {"train": {"type": "MultiViewDataset"}}}, "data.train.type", "ClassificationDataset alone"),
    ],
)
def test_what_cannot_be_converted_is_refused(old, changes, key, text):
    _, report = convert_config(old(**changes))
    assert any(entry.key == key and text in entry.text for entry in report.of("refused")), report.of("refused")


class TestData:
    def test_two_lists_of_one_folder(self, old):
        """CUB-200 and Aircraft in OpenMixup: read by folder, training and validation would be the same images."""
        roots = {"train": "data/CUB200/images/", "val": "data/CUB200/images", "test": "data/CUB200/images"}
        lists = {"train": "train.txt", "val": "test.txt", "test": "train.txt"}
        source = {"type": "ImageNet", "_delete_": True}
        data = {s: {"data_source": {**source, "root": roots[s], "list_file": lists[s]}} for s in ("train", "val")}
        (entry,) = convert_config(old(data=data))[1].of("refused")
        assert entry.key == "data.val.data_source"
        assert "data.train and data.val are two lists of the images in data/CUB200/images" in entry.text
        for split in data:
            data[split]["data_source"]["root"] += f"/{split}"
        assert convert_config(old(data=data))[1].of("refused") == []

    def test_image_lists(self, old):
        source = {"type": "ImageNet", "list_file": "meta/train.txt", "root": "data/ImageNet/train/", "_delete_": True}
        changes = {
            "data": {split: {"data_source": source | {"root": f"data/ImageNet/{split}"}} for split in ("train", "val")},
            "model": {"head": {"num_classes": 1000}},
        }
        cfg, report = converted(old(**changes))
        dataset = {"type": "ImageNet", "data_root": "data/ImageNet"}
        assert cfg["train_dataloader"]["dataset"] == {**dataset, "split": "train"}
        assert cfg["val_dataloader"]["dataset"] == {**dataset, "split": "val"}
        assert cfg["train_dataloader"]["type"] == "TorchLoader" and cfg["train_dataloader"]["num_workers"] == 4
        assert fate(report, "data.train.data_source.list_file")[0] == "changed"

    @pytest.mark.parametrize(
        ("root", "classes", "expected"),
        [
            ("data/TinyImageNet/train/", 200, {"type": "TinyImageNet", "data_root": "data/TinyImageNet"}),
            ("data/CUB200/train", 200, {"type": "ImageFolder", "data_root": "data/CUB200", "num_classes": 200}),
            (
                "data/ImageNet100/train",
                100,
                {"type": "ImageFolder", "data_root": "data/ImageNet100", "num_classes": 100},
            ),
        ],
    )
    def test_other_folders(self, old, root, classes, expected):
        source = {"type": "ImageNet", "list_file": "l.txt", "root": root, "_delete_": True}
        cfg, _ = converted(old(data={"train": {"data_source": source}}, model={"head": {"num_classes": classes}}))
        assert cfg["train_dataloader"]["dataset"] == {**expected, "split": "train"}

    def test_classes_that_the_data_do_not_have(self, old):
        """Whatever is wrong with the new file is found before it is written."""
        with pytest.raises(UserError, match="num_classes=7, but train_dataloader's data set has 10"):
            check_text(convert_config(old(model={"head": {"num_classes": 7}}))[0])

    def test_two_normalisations(self, old):
        pipeline = [{"type": "ToTensor"}, {"type": "Normalize", "mean": [0.0] * 3, "std": [1.0] * 3}]
        cfg, report = converted(old(data={"val": {"pipeline": pipeline}}))
        assert cfg["data_preprocessor"]["mean"] == [0.5, 0.4, 0.3]
        assert fate(report, "data.val.pipeline")[0] == "changed"

    def test_normalisation_in_the_pipeline_alone(self, flat, tmp_path):
        content = flat()
        del content["img_norm_cfg"]
        (tmp_path / "old.json").write_text(json.dumps(content))
        cfg, _ = converted(str(tmp_path / "old.json"))
        assert cfg["data_preprocessor"] == {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}

    def test_transforms_that_need_workers(self, old):
        pipeline = [{"type": "RandomCrop", "size": 32, "padding": 4}, {"type": "ColorJitter", "brightness": 0.4}]
        cfg, _ = converted(old(data={"train": {"pipeline": pipeline}}))
        assert (cfg["train_dataloader"]["type"], cfg["train_dataloader"]["num_workers"]) == ("TorchLoader", 4)
        assert cfg["val_dataloader"]["type"] == "ResidentLoader"

    def test_a_last_step_that_is_not_full(self, old):
        assert fate(converted(old())[1], "data.drop_last")[0] == "changed"
        assert fate(converted(old(data={"drop_last": True}))[1], "data.drop_last")[0] == "meaningless"

    def test_old_names_of_the_batch_size(self, old):
        cfg, _ = converted(old(data={"samples_per_gpu": 64}))
        assert cfg["train_dataloader"]["batch_size"] == 64


class TestRuntime:
    def test_hooks(self, old):
        hooks = [
            {"type": "ValidateHook", "initial": True, "interval": 5, "imgs_per_gpu": 8, "dataset": {}},
            {"type": "EMAHook", "momentum": 0.9999, "warmup": "linear", "update_interval": 1},
            {"type": "SAVEHook", "save_interval": 5000, "iter_per_epoch": 500},
            {"type": "CosineScheduleHook", "end_momentum": 1.0},
        ]
        cfg, report = converted(old(custom_hooks=hooks, evaluation=None))
        assert cfg["custom_hooks"] == [
            {"type": "EMAHook", "momentum": 0.0001},
            {"type": "MixPreviewHook", "interval": 10},
        ]
        assert cfg["train_cfg"] == {"max_epochs": 400, "val_interval": 5}
        assert cfg["val_dataloader"]["batch_size"] == 8
        assert fate(report, "custom_hooks.3")[0] == "no equivalent"
        check_text(convert_config(old(custom_hooks=hooks))[0])

    def test_the_length_that_openmixup_trains(self, old):
        cfg, report = converted(old(total_epochs=800))
        assert cfg["train_cfg"]["max_epochs"] == 400
        assert fate(report, "total_epochs") == ("changed", "left out: OpenMixup trains as runner says, 400")
        cfg, _ = converted(old(total_epochs=800, runner={"_delete_": True}))
        assert cfg["train_cfg"]["max_epochs"] == 800
        cfg, _ = converted(old(runner={"_delete_": True, "type": "IterBasedRunner", "max_iters": 9}))
        assert cfg["train_cfg"] == {"max_iters": 9}

    @pytest.mark.parametrize(
        ("runner", "by_epoch", "verdict", "written"),
        [
            ({"max_epochs": 9}, True, "renamed", 500),
            ({"max_epochs": 9}, False, "changed", None),
            ({"max_iters": 9}, True, "changed", None),
            ({"max_iters": 9}, False, "renamed", 500),
        ],
    )
    def test_validations_are_written_as_they_are_reported(self, old, runner, by_epoch, verdict, written):
        path = old(runner={"_delete_": True, **runner}, evaluation={"interval": 500, "by_epoch": by_epoch})
        cfg, report = converted(path)
        assert cfg["train_cfg"].get("val_interval") == written
        assert fate(report, "evaluation.interval")[0] == verdict

    @pytest.mark.parametrize(("keep", "expected"), [(-1, {}), (1, {}), (2, {}), (5, {"max_keep_ckpts": 5})])
    def test_checkpoints(self, old, keep, expected):
        cfg, _ = converted(old(checkpoint_config={"interval": 10, "max_keep_ckpts": keep}))
        assert cfg["default_hooks"]["checkpoint"] == {"interval": 10, **expected}

    def test_loggers(self, old):
        hooks = [{"type": "WandbLoggerHook", "init_kwargs": {"project": "p"}}, {"type": "PaviLoggerHook"}]
        cfg, report = converted(old(log_config={"interval": 50, "hooks": hooks}))
        assert cfg["vis_backends"] == [{"type": "WandbVisBackend", "init_kwargs": {"project": "p"}}]
        assert "logger" not in cfg["default_hooks"]
        assert fate(report, "log_config.hooks.1.type")[0] == "no equivalent"

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"load_from": "a.pth"}, "a.pth"),
            ({"model": {"pretrained": "b.pth"}}, "b.pth"),
            ({"load_from": "a.pth", "model": {"pretrained": "b.pth"}}, "a.pth"),
        ],
    )
    def test_weights_to_begin_with(self, old, changes, expected):
        cfg, report = converted(old(**changes))
        assert cfg["load_from"] == expected
        said = [entry for entry in report.entries if entry.text.startswith("-> load_from")]
        assert all(expected in entry.text for entry in said)

    def test_mixed_precision(self, old):
        cfg, report = converted(old(use_fp16=True))
        assert cfg["optim_wrapper"]["amp"] == "fp16" and fate(report, "use_fp16")[0] == "changed"
        check_text(convert_config(old(use_fp16=True))[0])
