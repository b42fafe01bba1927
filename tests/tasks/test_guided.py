"""What a task hands to guided methods, from whom, and what that leaves behind; by methods that only this file knows."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.mixers.catalog import mixer
from openmix.models import ClsMixupHead, ConvNet, EMAGuide, FrozenGuide, SpectralResidual, TimmBackbone
from openmix.ops.losses import mix_cross_entropy
from openmix.ops.plans import BlendPlan, mix
from openmix.ops.random import sample_partner
from openmix.ops.saliency import spectral_residual
from openmix.ops.target import MixTarget

pytestmark = pytest.mark.usefixtures("own_methods")

VIT = {
    "name": "vit_tiny_patch16_224",
    "img_size": 8,
    "model_args": {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3},
}


@pytest.fixture
def guided(own_methods, received):
    """Enter methods that blend by what they need: ``by_NEED``, and ``by_NEED_train`` in that mode."""

    def enter(need: str, guide_pass: str = "eval") -> str:
        def method(images, labels, *, generator=None, **needs: Tensor):
            received.append(needs[need])
            share = needs[need].float().flatten(1).mean(1).sigmoid()[:, None, None, None]
            return mix(images, labels, BlendPlan(sample_partner(len(images), generator), share))

        method.__name__ = f"by_{need}" + ("_train" if guide_pass == "train" else "")
        mixer(method.__name__, needs=(need,), guide_pass=guide_pass)(method)
        return method.__name__

    return enter


def gradients(task) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}


def by_hand(task, batch) -> Tensor:
    """The saliency, one image after the other, on a copy in evaluation."""
    net = copy.deepcopy(task).eval()
    maps = []
    for b in range(len(batch.labels)):
        x = batch.images[b : b + 1].clone().requires_grad_()
        F.cross_entropy(net.predict(x), batch.labels[b : b + 1]).backward()
        maps.append(x.grad.square().mean(1).sqrt())
    return torch.cat(maps)


class TestStudent:
    def test_saliency_is_that_of_the_network_in_evaluation(self, guided, received, make_task, make_batch, at):
        task, batch = make_task(mix_mode=guided("saliency")), make_batch()
        wanted = by_hand(task, batch)
        task(batch, at())
        torch.testing.assert_close(received[-1], wanted, rtol=1e-4, atol=1e-8)

    def test_the_pass_in_evaluation_leaves_the_state_bit_equal(self, guided, make_task, make_batch):
        task, batch = make_task(mix_mode=guided("saliency")), make_batch()
        before, modes = copy.deepcopy(task.state_dict()), [m.training for m in task.modules()]
        task.clean_context(batch).serve(["saliency", "features", "cam", "logits"], "eval")
        assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
        assert [m.training for m in task.modules()] == modes
        assert all(p.grad is None for p in task.parameters())
        assert not batch.images.requires_grad

    def test_the_pass_in_training_moves_batch_statistics_as_a_clean_pass_does(self, guided, make_task, make_batch, at):
        """R-Mix's BatchNorm sees clean images and mixed ones; it sees the clean ones once, however one asks for it."""
        states = []
        for mode, arguments in (
            (guided("saliency", "train"), {}),
            ("by_saliency_train", {"clean_pass": True}),
            (guided("saliency"), {"clean_pass": True}),
            ("by_saliency", {"guide_pass": "train"}),
        ):
            task, batch = make_task(mix_mode=mode, **arguments), make_batch()
            first = next(m for m in task.modules() if isinstance(m, nn.BatchNorm2d))
            task(batch, at())
            states.append((first.running_mean.clone(), first.num_batches_tracked.clone()))
        counts = {int(tracked) for _, tracked in states}
        assert counts == {2}
        task = make_task(mix_mode="by_saliency")
        task(make_batch(), at())
        assert int(next(m for m in task.modules() if isinstance(m, nn.BatchNorm2d)).num_batches_tracked) == 1

    def test_several_methods_pay_once_a_batch(self, guided, received, make_task, make_batch, at):
        task = make_task(mix_mode=guided("saliency"), mix_repeat=3)
        calls = []
        task.backbone.register_forward_hook(lambda *_: calls.append(1))
        task(make_batch(), at())
        assert len(received) == 3 and received[0] is received[1] is received[2]
        assert len(calls) == 1 + 3

    def test_features_and_class_activation(self, guided, received, make_task, make_batch, at):
        batch = make_batch()
        for need in ("features", "cam"):
            task = make_task(mix_mode=guided(need))
            task(batch, at())
            found, net = received[-1], copy.deepcopy(task).eval()
            features = make_task(mix_mode="vanilla").eval().backbone(batch.images)[-1]
            if need == "features":
                torch.testing.assert_close(found, features)
            else:
                wanted = torch.stack([
                    (net.head.fc.weight[y][:, None, None] * f).sum(0)
                    for y, f in zip(batch.labels, features, strict=True)
                ])  # fmt: skip
                torch.testing.assert_close(found, wanted)
            assert not found.requires_grad

    def test_accumulated_gradients_are_the_sum_of_each(self, guided, make_task, make_batch, at):
        task = make_task(mix_mode=guided("saliency"))
        for m in task.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.eval()  # so that the first batch does not matter to the second
        each = []
        for shard in (0, 1):
            task.zero_grad()
            task(make_batch(seed=shard), at(shard=shard))["loss"].backward()
            each.append(gradients(task))
        task.zero_grad()
        for shard in (0, 1):
            task(make_batch(seed=shard), at(shard=shard))["loss"].backward()
        for name, both in gradients(task).items():
            torch.testing.assert_close(both, each[0][name] + each[1][name])


class TestCleanTerm:
    @pytest.mark.parametrize("mode", ["mixup", "by_saliency", "by_saliency_train"])
    def test_loss_and_gradient_are_those_of_the_sum(self, guided, make_task, make_batch, at, mode):
        """Whether it comes of the saliency's own backward pass or of a pass of its own."""
        guided("saliency"), guided("saliency", "train")
        weight, batch = 0.7, make_batch()
        task = make_task(mix_mode=mode, clean_weight=weight)
        plain = make_task(mix_mode=mode, guide_pass="train" if mode.endswith("train") else None)
        report = task(batch, at())
        report["loss"].backward()
        if mode == "by_saliency":  # with a clean term, its mode is that of the term
            plain.guide_pass = "train"
        total = plain(batch, at())["loss"] + weight * F.cross_entropy(plain.predict(batch.images), batch.labels)
        total.backward()
        torch.testing.assert_close(report["loss"], total)
        wanted = gradients(plain)
        for name, gradient in gradients(task).items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-6)

    def test_the_saliencys_backward_pass_serves_for_both(self, guided, make_task, make_batch, at):
        """Two forward passes: the clean one and the mixed one."""
        task = make_task(mix_mode=guided("saliency", "train"), clean_weight=1.0)
        calls = []
        task.backbone.register_forward_hook(lambda *_: calls.append(1))
        task(make_batch(), at())["loss"].backward()
        assert len(calls) == 2

    @pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
    def test_a_weight_out_of_range(self, make_task, wrong):
        with pytest.raises(ValueError, match="clean_weight must be a number of at least 0"):
            make_task(clean_weight=wrong)

    def test_beside_a_clean_pass_it_is_one(self, make_task, make_batch, at):
        task = make_task(clean_pass=True, clean_weight=1.0)
        task(make_batch(), at())
        assert {int(m.num_batches_tracked) for m in task.modules() if isinstance(m, nn.BatchNorm2d)} == {2}

    def test_a_pass_in_training_is_not_forgotten(self, make_task, make_batch):
        task = make_task()
        clean = task.clean_context(make_batch())
        for guide_pass in ("train", "eval"):
            clean.serve(["features"], guide_pass)
        clean.pass_once()
        assert {int(m.num_batches_tracked) for m in task.modules() if isinstance(m, nn.BatchNorm2d)} == {1}


class TestGuides:
    def test_spectral_residual_is_of_the_image_alone(self, guided, received, make_task, make_batch, at):
        task, batch = make_task(mix_mode=guided("saliency"), guide=SpectralResidual()), make_batch()
        task(batch, at())
        torch.testing.assert_close(received[0], spectral_residual(batch.images))

    def test_a_frozen_network_stays_as_it_is(self, guided, received, make_task, make_batch, at):
        torch.manual_seed(5)
        guide = FrozenGuide(ConvNet((4,)), ClsMixupHead(5, 4), size=16)
        task, batch = make_task(mix_mode=guided("saliency"), guide=guide), make_batch()
        before = copy.deepcopy(guide.state_dict())
        task.train()
        task(batch, at())["loss"].backward()
        task.after_step(at())
        assert all(torch.equal(v, before[k]) for k, v in guide.state_dict().items())
        assert not any(m.training for m in guide.modules())
        assert all(not p.requires_grad and p.grad is None for p in guide.parameters())
        assert not any(p is q for group in task.parameter_groups() for p in group["params"] for q in guide.parameters())
        assert received[0].shape == (6, 8, 10), "the map is that of the images again"

    def test_a_frozen_networks_weights_from_a_file(self, tmp_path, make_task, guided, make_batch, at, received):
        torch.manual_seed(6)
        net = ConvNet((4, 8))
        torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, tmp_path / "net.pth")
        guide = FrozenGuide(ConvNet((4, 8)), checkpoint=str(tmp_path / "net.pth"))
        assert all(torch.equal(v, net.state_dict()[k]) for k, v in guide.backbone.state_dict().items())
        task, batch = make_task(mix_mode=guided("features"), guide=guide), make_batch()
        task(batch, at())
        torch.testing.assert_close(received[0], net.eval()(batch.images)[-1].detach())

    def test_a_file_with_a_classifier_for_a_guide_without(self, tmp_path):
        net = ConvNet((4,))
        weights = {**net.state_dict(), "fc.weight": torch.rand(3, 4), "fc.bias": torch.rand(3)}
        torch.save(weights, tmp_path / "net.pth")
        FrozenGuide(ConvNet((4,)), checkpoint=str(tmp_path / "net.pth"))

    def test_a_guide_for_some_needs(self, guided, received, make_task, make_batch, at):
        """OpenMixup's: a frozen network for AttentiveMix, beside Puzzle Mix on the network itself."""
        modes = [guided("features"), guided("saliency")]
        guide = FrozenGuide(ConvNet((3,)), serves=["features"])
        task, batch = make_task(mix_mode=modes, guide=guide), make_batch()
        wanted = by_hand(task, batch)
        received.clear()
        for step in range(8):
            task(batch, at(step))
        shapes = {tuple(r.shape) for r in received}
        assert shapes == {(6, 3, 8, 10), (6, 8, 10)}
        torch.testing.assert_close(next(r for r in received if r.ndim == 3), wanted, rtol=1e-4, atol=1e-8)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(ValueError, match=r"no file of weights .*none.pth"):
            FrozenGuide(ConvNet((4,)), checkpoint=str(tmp_path / "none.pth"))

    def test_the_average_follows_by_its_formula(self, guided, received, make_task, make_batch, at):
        task, batch = make_task(mix_mode=guided("saliency"), guide=EMAGuide(momentum=0.25)), make_batch()
        optimizer = torch.optim.SGD([p for g in task.parameter_groups() for p in g["params"]], lr=0.5)
        wanted = task.head.fc.weight.detach().clone()
        for step in range(3):
            optimizer.zero_grad()
            task(batch, at(step))["loss"].backward()
            optimizer.step()
            task.after_step(at(step))
            weight = task.head.fc.weight.detach()
            wanted = 0.75 * wanted + 0.25 * weight
        average = task.guide.average[2].fc.weight
        torch.testing.assert_close(average, wanted)
        assert not any(p is average for group in task.parameter_groups() for p in group["params"])
        task(batch, at(3))
        found, stand_in = received[-1], make_task(mix_mode="vanilla")
        stand_in.load_state_dict({
            f"{name}.{k}": v
            for name, m in zip(("backbone", "neck", "head"), task.guide.average, strict=True)
            for k, v in m.state_dict().items()
        })  # fmt: skip
        torch.testing.assert_close(found, by_hand(stand_in, batch), rtol=1e-4, atol=1e-8)

    @pytest.mark.parametrize("momentum", [0, 1, -0.1, float("nan")])
    def test_a_momentum_out_of_range(self, momentum):
        with pytest.raises(ValueError, match="momentum must be in"):
            EMAGuide(momentum)


class TestTransformers:
    def test_attention_before_and_after(self, guided, received, make_task, make_batch, at):
        @mixer("Seen", kind="label", needs=("attention", "clean_attention", "logits", "clean_logits"), base="cutmix")
        def seen(mixed, *, attention, clean_attention, logits, clean_logits):
            received.append((mixed, attention, clean_attention, logits, clean_logits))
            return MixTarget(mixed.target.labels, mixed.target.weights)

        task, batch = make_task(TimmBackbone(**VIT), mix_mode="seen"), make_batch(side=8)
        batch = batch.with_views(batch.images[..., :8])
        task(batch, at())
        mixed, attention, clean_attention, logits, clean_logits = received[0]
        net = copy.deepcopy(task).eval()
        torch.testing.assert_close(clean_logits, net.predict(batch.images).detach())
        torch.testing.assert_close(logits, net.predict(mixed.images).detach())
        for images, found in ((batch.images, clean_attention), (mixed.images, attention)):
            again = net.clean_context(batch.with_views(images)).serve(["attention"], "eval")["attention"]
            assert found.shape == (6, 2, 2) and not found.requires_grad
            torch.testing.assert_close(found, again)
        assert not torch.equal(attention, clean_attention)

    def test_clean_needs_run_in_the_methods_mode(self, received, make_task, make_batch, at):
        for guide_pass, own, moves in (
            ("eval", None, 1),
            ("train", None, 2),
            ("train", "eval", 1),
            ("eval", "train", 2),
        ):

            def looks_back(mixed, *, clean_logits):
                received.append(clean_logits)
                return mixed.target

            mixer("LooksBack", kind="label", needs=("clean_logits",), base="cutmix", guide_pass=guide_pass)(looks_back)
            task = make_task(mix_mode="looks_back", guide_pass=own)
            task(make_batch(), at())
            assert not received[-1].requires_grad
            norms = [m for m in task.modules() if isinstance(m, nn.BatchNorm2d)]
            assert {int(m.num_batches_tracked) for m in norms} == {moves}


class TestWhatCannotBeServed:
    def test_saliency_of_mixed_images(self, own_methods, make_task):
        @mixer("Late", kind="label", needs=("saliency",), base="cutmix")
        def late(mixed, *, saliency):
            return mixed.target

        with pytest.raises(ValueError, match="saliency: this task does not compute it for mixed images"):
            make_task(mix_mode="late")

    def test_logits_without_a_head(self, own_methods, make_task):
        @mixer("LogitsToo", kind="label", needs=("clean_logits",), base="cutmix")
        def logits_too(mixed, *, clean_logits):
            return mixed.target

        with pytest.raises(ValueError, match="it takes a network with a head"):
            make_task(mix_mode="logits_too", guide=FrozenGuide(ConvNet((4,))))

    def test_a_guide_of_other_classes(self, guided, make_task):
        with pytest.raises(ValueError, match="the guide's head has num_classes=7, the task's has 5"):
            make_task(mix_mode=guided("saliency"), guide=FrozenGuide(ConvNet((4,)), ClsMixupHead(7, 4)))

    def test_a_guide_that_is_none(self, make_task):
        with pytest.raises(ValueError, match="guide must be an EMAGuide, FrozenGuide or SpectralResidual, got ConvNet"):
            make_task(guide=ConvNet((4,)))

    def test_needs_that_nobody_knows_to_serve(self):
        with pytest.raises(ValueError, match=r"serves must be one of 'saliency', .* got 'aura'"):
            FrozenGuide(ConvNet((4,)), serves=["aura"])

    @pytest.mark.parametrize("need", ["attention", "rollout"])
    def test_attention_of_a_convnet(self, guided, make_task, need):
        with pytest.raises(ValueError, match=f"by_{need} needs what cannot be had of ConvNet: "):
            make_task(mix_mode=guided(need))

    @pytest.mark.parametrize("need", ["features", "cam"])
    def test_maps_of_one_place(self, guided, make_task, need):
        with pytest.raises(ValueError, match=f"by_{need} needs .*the last map of this TimmBackbone has one place"):
            make_task(TimmBackbone(**VIT), mix_mode=guided(need))

    def test_saliency_without_a_head(self, guided, make_task):
        with pytest.raises(ValueError, match="it takes a network with a head"):
            make_task(mix_mode=guided("saliency"), guide=FrozenGuide(ConvNet((4,))))

    def test_features_of_the_image_alone(self, guided, make_task):
        with pytest.raises(ValueError, match="SpectralResidual serves saliency only"):
            make_task(mix_mode=guided("features"), guide=SpectralResidual())

    def test_class_activation_without_a_global_average(self, guided, make_task):
        class Flat(nn.Module):
            def forward(self, features):
                return features[-1].flatten(1)[:, :8]

        with pytest.raises(ValueError, match="cam: it takes a global average"):
            make_task(mix_mode=guided("cam"), neck=Flat())

    def test_a_name_that_nobody_knows(self, guided, make_task):
        with pytest.raises(ValueError, match="aura: nothing computes that"):
            make_task(mix_mode=guided("aura"))


def test_labels_meet_the_loss_image_by_image(guided, received, make_task, make_batch, at):
    task, batch = make_task(mix_mode=guided("saliency")), make_batch()
    report = task(batch, at())
    method = task.mixers[0]
    mixed = method(batch.images, batch.labels, generator=at().generator("mix"), saliency=received[0])
    torch.testing.assert_close(report["loss"], mix_cross_entropy(task.predict(mixed.images), mixed.target))
