"""Files of other code bases: read safely, fitted by name, and computing what their own networks compute."""

import argparse
import os
import pickle
import re
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from openmix.errors import UserError
from openmix.models import ClsHead, ConvNet, PreActResNet, ResNet, ResNet_CIFAR, ResNeXt29_4_24, WideResNet
from openmix.models.backbones.shake_shake import ShakeShake
from openmix.models.backbones.timm_backbone import TimmBackbone
from openmix.models.backbones.torchvision_nets import DenseNet, MobileNetV2
from openmix.models.weights import fit_weights, read_weights
from openmix.tasks import Classification


def task(backbone: nn.Module, classes: int = 10) -> Classification:
    return Classification(backbone, ClsHead(classes, backbone.out_channels[-1])).eval()


class Naive:
    """A network written as its forward pass, which makes its weights, by another code base's names, as it goes."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.generator = torch.Generator().manual_seed(0)

    def make(self, name: str, *shape: int, low: float = -0.5, high: float = 0.5) -> Tensor:
        self.weights[name] = low + (high - low) * torch.rand(shape, generator=self.generator)
        return self.weights[name]

    def conv(self, name: str, x: Tensor, out: int, kernel: int, stride: int = 1, bias: bool = False, groups: int = 1):
        size = out, x.shape[1] // groups, kernel, kernel
        weight = self.make(f"{name}.weight", *size).div_((size[1] * kernel**2) ** 0.5 / 3)
        return F.conv2d(x, weight, self.make(f"{name}.bias", out) if bias else None, stride, kernel // 2, groups=groups)

    def norm(self, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
        channels = x.shape[1]
        weight, bias = self.make(f"{name}.weight", channels, low=0.5, high=1.5), self.make(f"{name}.bias", channels)
        mean = self.make(f"{name}.running_mean", channels)
        var = self.make(f"{name}.running_var", channels, low=0.5, high=1.5)
        self.weights[f"{name}.num_batches_tracked"] = torch.tensor(7)
        return F.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)

    def linear(self, name: str, x: Tensor, out: int) -> Tensor:
        return F.linear(x.mean((2, 3)), self.make(f"{name}.weight", out, x.shape[1]), self.make(f"{name}.bias", out))


IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def rmix_preactresnet18(net: Naive, classes: int) -> Tensor:
    x = net.conv("conv1", IMAGES, 64, 3)
    for layer, width in enumerate((64, 128, 256, 512), 1):
        for block in (0, 1):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            active = net.norm(f"{at}.bn1", x).relu()
            shortcut = net.conv(f"{at}.shortcut.0", active, width, 1, stride) if stride == 2 else x
            y = net.conv(f"{at}.conv1", active, width, 3, stride)
            x = net.conv(f"{at}.conv2", net.norm(f"{at}.bn2", y).relu(), width, 3) + shortcut
    return net.linear("linear", x, classes)


def rmix_wideresnet10_2(net: Naive, classes: int) -> Tensor:
    """And ResizeMix's; depth 10 is one block a stage."""
    x = net.conv("conv1", IMAGES, 16, 3, bias=True)
    for layer, width in enumerate((32, 64, 128), 1):
        at, stride = f"layer{layer}.0", 2 if layer > 1 else 1
        y = net.conv(f"{at}.conv1", net.norm(f"{at}.bn1", x).relu(), width, 3, bias=True)
        y = net.conv(f"{at}.conv2", net.norm(f"{at}.bn2", y).relu(), width, 3, stride, bias=True)
        x = y + net.conv(f"{at}.shortcut.0", x, width, 1, stride, bias=True)
    return net.linear("linear", net.norm("bn1", x).relu(), classes)


def openmixup_wideresnet10_2(net: Naive, classes: int) -> Tensor:
    def activate(name: str, x: Tensor) -> Tensor:
        return F.leaky_relu(net.norm(f"backbone.{name}", x, eps=1e-3), 0.1)

    x = net.conv("backbone.conv1", IMAGES, 16, 3, bias=True)
    for layer, width in enumerate((32, 64, 128), 1):
        at, stride = f"block{layer}.layer.0", 2 if layer > 1 else 1
        active = activate(f"{at}.bn1", x)
        y = net.conv(f"backbone.{at}.conv1", active, width, 3, stride, bias=True)
        y = net.conv(f"backbone.{at}.conv2", activate(f"{at}.bn2", y), width, 3, bias=True)
        taken = active if layer == 1 else x
        x = y + net.conv(f"backbone.{at}.convShortcut", taken, width, 1, stride, bias=True)
    return net.linear("head.fc", activate("bn1", x), classes)


def rmix_resnext29(net: Naive, classes: int) -> Tensor:
    x = net.norm("bn_1", net.conv("conv_1_3x3", IMAGES, 64, 3)).relu()
    for stage, width in enumerate((96, 192, 384), 1):
        for block in range(3):
            at, stride, out = f"stage_{stage}.{block}", 2 if stage > 1 and block == 0 else 1, 256 * 2 ** (stage - 1)
            y = net.norm(f"{at}.bn_reduce", net.conv(f"{at}.conv_reduce", x, width, 1)).relu()
            y = net.norm(f"{at}.bn", net.conv(f"{at}.conv_conv", y, width, 3, stride, groups=4)).relu()
            y = net.norm(f"{at}.bn_expand", net.conv(f"{at}.conv_expand", y, out, 1))
            if block == 0:
                x = net.norm(f"{at}.downsample.1", net.conv(f"{at}.downsample.0", x, out, 1, stride))
            x = (x + y).relu()
    return net.linear("classifier", x, classes)


def resizemix_shakeshake8_2x4d(net: Naive, classes: int) -> Tensor:
    x = net.conv("c_in", IMAGES, 16, 3, bias=True)
    for layer, width in enumerate((4, 8, 16), 1):
        at, stride = f"layer{layer}.0", 2 if layer > 1 else 1
        branches = []
        for branch in (f"{at}.branch1", f"{at}.branch2"):
            y = net.norm(f"{branch}.2", net.conv(f"{branch}.1", x.relu(), width, 3, stride)).relu()
            branches.append(net.norm(f"{branch}.5", net.conv(f"{branch}.4", y, width, 3)))
        active = x.relu()
        moved = torch.zeros_like(active)
        moved[:, :, :-1, :-1] = active[:, :, 1:, 1:]
        halves = [
            net.conv(f"{at}.shortcut.conv{i}", half[:, :, ::stride, ::stride], width // 2, 1)
            for i, half in ((1, active), (2, moved))
        ]
        x = net.norm(f"{at}.shortcut.bn", torch.cat(halves, 1)) + sum(branches) / 2
    return net.linear("fc_out", x.relu(), classes)


def cropmix_resnet18(net: Naive, classes: int) -> Tensor:
    x = net.norm("conv1.1", net.conv("conv1.0", IMAGES, 64, 3)).relu()
    for layer, width in enumerate((64, 128, 256, 512), 2):
        for block in (0, 1):
            at, stride = f"conv{layer}_x.{block}", 2 if layer > 2 and block == 0 else 1
            y = net.norm(f"{at}.residual_function.1", net.conv(f"{at}.residual_function.0", x, width, 3, stride))
            y = net.norm(f"{at}.residual_function.4", net.conv(f"{at}.residual_function.3", y.relu(), width, 3))
            if stride == 2:
                x = net.norm(f"{at}.shortcut.1", net.conv(f"{at}.shortcut.0", x, width, 1, stride))
            x = (x + y).relu()
    return net.linear("fc", x, classes)


def openmixup_vit(net: Naive, classes: int) -> Tensor:
    """Two blocks of three heads, tokens of 4 x 4 pixels."""

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, (192,), net.make(f"{name}.weight", 192), net.make(f"{name}.bias", 192), 1e-6)

    def linear(name: str, x: Tensor, out: int) -> Tensor:
        weight = net.make(f"{name}.weight", out, x.shape[-1]).mul_(0.2)
        return x @ weight.T + net.make(f"{name}.bias", out)

    weight = net.make("backbone.patch_embed.projection.weight", 192, 3, 4, 4)
    tokens = F.conv2d(IMAGES, weight, net.make("backbone.patch_embed.projection.bias", 192), stride=4).flatten(2).mT
    x = torch.cat((net.make("backbone.cls_token", 1, 1, 192).expand(2, 1, 192), tokens), 1)
    x = x + net.make("backbone.pos_embed", 1, 17, 192)
    for i in range(2):
        at = f"backbone.layers.{i}"
        qkv = linear(f"{at}.attn.qkv", norm(f"{at}.ln1", x), 3 * 192).unflatten(2, (3, 3, 64))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        mixed = ((q @ k.mT / 8).softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + linear(f"{at}.attn.proj", mixed, 192)
        hidden = F.gelu(linear(f"{at}.ffn.layers.0.0", norm(f"{at}.ln2", x), 768))
        x = x + linear(f"{at}.ffn.layers.1", hidden, 192)
    return linear("head.layers.head", norm("backbone.ln1", x)[:, 0], classes)


NETWORKS = {
    rmix_preactresnet18: lambda: PreActResNet(18),
    rmix_wideresnet10_2: lambda: WideResNet(10, 2, "rmix"),
    openmixup_wideresnet10_2: lambda: WideResNet(10, 2, "openmixup"),
    rmix_resnext29: ResNeXt29_4_24,
    resizemix_shakeshake8_2x4d: lambda: ShakeShake(8, 4),
    cropmix_resnet18: lambda: ResNet_CIFAR(18),
    openmixup_vit: lambda: TimmBackbone("vit_tiny_patch16_224", img_size=16, model_args={"patch_size": 4, "depth": 2}),
}


@torch.no_grad()
@pytest.mark.parametrize("naive", NETWORKS, ids=lambda f: f.__name__)
def test_the_seeds_networks_compute_the_same_here(naive):
    net = Naive()
    expected = naive(net, 10)
    ours = task(NETWORKS[naive]())
    fitted = fit_weights(net.weights, ours)
    assert len(fitted.weights) == len(net.weights)
    assert fitted.own == () and fitted.ignored == ()
    ours.load_state_dict(fitted.weights)
    assert expected.std() > 0.05
    torch.testing.assert_close(ours.predict(IMAGES), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("theirs", "depth"),
    [
        (torchvision.models.resnet18, 18),
        (torchvision.models.resnet50, 50),
        (lambda: timm.create_model("resnet18"), 18),
        (lambda: timm.create_model("resnet50"), 50),
    ],
)
def test_torchvisions_and_timms_resnets_compute_the_same_here(theirs, depth):
    torch.manual_seed(0)
    net = theirs().eval()
    images = torch.rand(1, 3, 64, 64)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm's blocks begin as the identity
            nn.init.uniform_(module.weight, 0.5, 1.0)
    ours = task(ResNet(depth), 1000)
    ours.load_state_dict(fit_weights(net.state_dict(), ours).weights)
    torch.testing.assert_close(ours.predict(images), net(images), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (torchvision.models.densenet121, lambda: DenseNet(121, stem="imagenet")),
        (torchvision.models.mobilenet_v2, lambda: MobileNetV2(stem="imagenet")),
    ],
)
def test_torchvisions_chains_of_features_compute_the_same_here(theirs, ours):
    torch.manual_seed(0)
    net, network = theirs().eval(), task(ours(), 1000)
    images = torch.rand(1, 3, 64, 64)
    network.load_state_dict(fit_weights(net.state_dict(), network).weights)
    torch.testing.assert_close(network.predict(images), net(images), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_timms_networks_compute_the_same_here(name):
    """test_vit has its classifier in ``head``, test_convnext in ``head.fc``, test_efficientnet in ``classifier``."""
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=10).eval()
    for p in net.get_classifier().parameters():
        nn.init.normal_(p)
    network = task(TimmBackbone(name))
    network.load_state_dict(fit_weights(net.state_dict(), network).weights)
    images = torch.rand(1, 3, *net.default_cfg["input_size"][1:])
    assert net(images).std() > 0.1
    torch.testing.assert_close(network.predict(images), net(images), rtol=1e-4, atol=1e-4)


def small() -> Classification:
    return task(ConvNet((4, 8)), 5)


def random_weights(module: nn.Module) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        key: torch.rand(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in module.state_dict().items()
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


WEIGHTS = random_weights(small())


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in WEIGHTS.items()}


def holding_itself(content: dict) -> dict:
    content = dict(content)
    content["model"] = content
    return content


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        {"state_dict": prefixed("module."), "epoch": 300},  # R-Mix as published, CropMix
        {"model": WEIGHTS, "optimizer": {"state": {}}},  # R-Mix's main.py
        {"model": prefixed("module."), "args": argparse.Namespace(lr=0.1), "epoch": torch.tensor(3)},  # MAE
        {"model_state_dict": WEIGHTS},
        prefixed("module."),  # ResizeMix's weights.pt
        {"state_dict": prefixed("module._orig_mod.")},
        {"meta": {"epoch": 1}, "state_dict": WEIGHTS},  # OpenMixup
        {"model": {"state_dict": WEIGHTS}},
        {"state_dict": prefixed("x."), "state_dict_ema": WEIGHTS},  # timm
        {"format": "openmix", "model": prefixed("x."), "ema": {**prefixed("module."), "n_averaged": torch.tensor(9)}},
        {"format": "openmix", "model": WEIGHTS, "ema": None},
        {"ema": {"decay": 0.999}, "state_dict": WEIGHTS},
        holding_itself(WEIGHTS),
    ],
    ids=lambda content: "-".join(list(content)[:3]),
)
def test_every_layout_is_unwrapped(tmp_path, content):
    path = tmp_path / "weights.pth.tar"
    torch.save(content, path)
    assert same(read_weights(path), WEIGHTS)


def test_an_average_of_torch(tmp_path):
    average = AveragedModel(small())
    torch.save(average.state_dict(), tmp_path / "a.pth")
    assert same(read_weights(tmp_path / "a.pth"), dict(average.module.state_dict()))


def test_safetensors(tmp_path):
    save_file(prefixed("module."), tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors"), WEIGHTS)


def test_a_run_of_openmix_fits_itself(lab, tmp_path):
    path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook", "momentum": 0.5}])
    lab.train(path, tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoints" / "last.pth"
    state = torch.load(checkpoint, weights_only=True)
    network = ConvNet((4, 8), in_channels=1)
    fitted = fit_weights(read_weights(checkpoint), task(network)).weights
    assert fitted and all(torch.equal(value, state["ema"][f"module.{key}"]) for key, value in fitted.items())
    assert any(not torch.equal(value, state["model"][key]) for key, value in fitted.items())


class Hostile:
    def __reduce__(self):
        return os.system, (f"touch {Hostile.witness}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_not_run(tmp_path, zipped):
    Hostile.witness = tmp_path / "executed"
    path = tmp_path / "hostile.pth.tar"
    torch.save({"state_dict": WEIGHTS, "extra": Hostile()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"hostile.pth.tar is damaged, or not a file .* needs posix.system, which is"):
        read_weights(path)
    assert not Hostile.witness.exists()


def test_a_plain_pickle_of_code_is_refused_as_well(tmp_path):
    Hostile.witness = tmp_path / "executed"
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"state_dict": Hostile()}))
    with pytest.raises(UserError, match="damaged, or not a file of tensors"):
        read_weights(tmp_path / "w.pth")
    assert not Hostile.witness.exists()


def test_a_whole_module_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "m.pth")
    with pytest.raises(UserError, match="save its state_dict"):
        read_weights(tmp_path / "m.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_damaged_files(tmp_path, name):
    path = tmp_path / name
    torch.save(WEIGHTS, path) if name.endswith("pth") else save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(UserError, match=f"{name} is damaged"):
        read_weights(path)


@pytest.mark.parametrize(
    "content", [{}, {"state_dict": {}}, {"epoch": 3}, [torch.zeros(2)], torch.zeros(3), holding_itself({})]
)
def test_files_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no weights: expected tensors by name"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="no file of weights"):
        read_weights(tmp_path / "none.pth")


class TestHead:
    def test_other_classes_keep_the_modules_own(self):
        module = small()
        weights = {k: v[:3] if k.startswith("head.") else v for k, v in WEIGHTS.items()}
        fitted = fit_weights(weights, module)
        assert fitted.own == ("head.fc.weight", "head.fc.bias")
        assert torch.equal(fitted.weights["head.fc.weight"], module.head.fc.weight)
        assert torch.equal(fitted.weights["backbone.layer1.0.weight"], WEIGHTS["backbone.layer1.0.weight"])

    def test_a_file_without_one(self):
        module = small()
        fitted = fit_weights({k: v for k, v in WEIGHTS.items() if not k.startswith("head.")}, module)
        assert fitted.own == ("head.fc.weight", "head.fc.bias")
        module.load_state_dict(fitted.weights)

    def test_other_features_are_another_network(self):
        weights = {**WEIGHTS, "head.fc.weight": torch.zeros(5, 9)}
        with pytest.raises(UserError, match=r"1 of another shape: head.fc.weight \(5 x 9, not 5 x 8\)"):
            fit_weights(weights, small())

    @pytest.mark.parametrize("name", ["fc", "linear", "classifier", "classifier.1", "fc_out", "head", "head.fc"])
    def test_names_of_it(self, name):
        weights = {key.replace("head.fc", name).removeprefix("backbone."): value for key, value in WEIGHTS.items()}
        assert same(fit_weights(weights, small()).weights, WEIGHTS)


class TestOpenMixup:
    def test_copies_and_teachers_are_left_out(self):
        copies = {f"ema_{key.replace('.', '_')}": value + 1 for key, value in WEIGHTS.items()}
        teacher = {"backbone_k.conv1.weight": torch.zeros(1)}
        fitted = fit_weights({**WEIGHTS, **copies, **teacher}, small())
        assert same(fitted.weights, WEIGHTS)
        assert set(fitted.ignored) == copies.keys() | teacher.keys()

    def test_its_wideresnet_does_not_pass_for_another(self):
        """Names but for the blocks, and all shapes, are ResizeMix's; what they compute is not."""
        net = Naive()
        openmixup_wideresnet10_2(net, 10)
        with pytest.raises(UserError, match=r"unexpected: backbone\.block1\.layer\.0"):
            fit_weights(net.weights, task(WideResNet(10, 2, "faa")))


def test_a_task_may_have_parts_that_are_called_as_its_networks_are():
    module = small()
    module.layer1 = nn.Sequential(nn.Conv2d(3, 4, 3))
    weights = random_weights(module)
    assert same(fit_weights(weights, module).weights, weights)


def test_half_precision_becomes_the_modules():
    weights = {k: v.half() if v.is_floating_point() else v for k, v in WEIGHTS.items()}
    fitted = fit_weights(weights, small()).weights
    assert fitted["head.fc.weight"].dtype == torch.float32


def test_counters_that_old_files_lack():
    weights = {k: v for k, v in WEIGHTS.items() if not k.endswith("num_batches_tracked")}
    assert len(weights) < len(WEIGHTS)
    small().load_state_dict(fit_weights(weights, small()).weights)


def test_neither_argument_is_changed():
    module, weights = small(), dict(WEIGHTS)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    fit_weights(weights, module)
    assert same(module.state_dict(), before) and same(weights, WEIGHTS)


def test_on_the_meta_device():
    with torch.device("meta"):
        module = small()
    assert same(fit_weights(WEIGHTS, module).weights, WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("backbone.layer1.0.weight"), "1 missing: backbone.layer1.0.weight"),
        (lambda w: w.update({"neck.weight": torch.zeros(1)}), "1 unexpected: neck.weight"),
        (lambda w: w.update({"backbone.layer1.1.bias": torch.zeros(5)}), "backbone.layer1.1.bias (5, not 4)"),
        (lambda w: w.update({f"x{i}": torch.zeros(1) for i in range(9)}), "9 unexpected: x0, x1, x2, ..."),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    weights = dict(WEIGHTS)
    change(weights)
    with pytest.raises(UserError, match=re.escape(message)):
        fit_weights(weights, small())


@pytest.mark.parametrize("exact", ["backbone.layer1.0.weight", "head.fc.weight"])
@pytest.mark.parametrize("last", [True, False])
def test_two_names_for_one_are_an_error_in_any_order(exact, last):
    other = {exact.replace("head.fc", "fc").removeprefix("backbone."): WEIGHTS[exact] + 1}
    weights = {**WEIGHTS, **other} if last else {**other, **WEIGHTS}
    with pytest.raises(UserError, match=f"config's: 1 unexpected: {next(iter(other))}$"):
        fit_weights(weights, small())


def with_one(value: float, *, at: str = "backbone.layer1.0.weight") -> Tensor:
    tensor = WEIGHTS[at].double()
    tensor.view(-1)[3] = value
    return tensor


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (WEIGHTS["backbone.layer1.0.weight"].to(torch.int8), "int8, not float32"),
        (WEIGHTS["backbone.layer1.0.weight"].bool(), "bool, not float32"),
        (WEIGHTS["backbone.layer1.0.weight"].to(torch.complex64), "complex64, not float32"),
        (with_one(float("nan")), "not all finite"),
        (with_one(float("-inf")), "not all finite"),
        (with_one(1e300), "not all finite"),  # in float32
        (WEIGHTS["backbone.layer1.0.weight"].to("meta"), "without values, of the meta device"),
        (WEIGHTS["backbone.layer1.0.weight"].to_sparse(), "not dense"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tensors_that_are_no_weights_are_refused(value, why):
    with pytest.raises(UserError, match=rf"1 of the .* weights: backbone\.layer1\.0\.weight \({why}\)$"):
        fit_weights({**WEIGHTS, "backbone.layer1.0.weight": value}, small())


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("name", ["head.fc.weight", "backbone.layer1.1.num_batches_tracked"])
def test_quantised_tensors_are_refused(name):
    value = torch.quantize_per_tensor(WEIGHTS[name].float(), 0.1, 0, torch.qint8)
    with pytest.raises(UserError, match=rf"weights: {name} \(quantised\)$"):
        fit_weights({**WEIGHTS, name: value}, small())


def test_what_is_left_out_may_be_anything():
    copy = {"ema_head_fc_bias": torch.full((5,), torch.nan)}
    assert same(fit_weights({**WEIGHTS, **copy}, small()).weights, WEIGHTS)


def test_another_network_altogether():
    with pytest.raises(UserError, match=r"another network than the config's: 20 missing: .*; 120 unexpected: .*"):
        fit_weights(torchvision.models.resnet18().state_dict(), small())


def test_files_are_read_by_a_path_or_its_name(tmp_path):
    torch.save(WEIGHTS, tmp_path / "w.pt")
    assert same(read_weights(str(tmp_path / "w.pt")), read_weights(Path(tmp_path / "w.pt")))
