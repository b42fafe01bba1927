"""What is asked of a network: against finite differences, image by image, and without a trace left behind."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from openmix.ops.attention import AttentionTap
from openmix.ops.guidance import class_activation, input_gradient, last_map, run_in, serve, unwrap


def make_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 8, 3, stride=2), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 4),
    )  # fmt: skip


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(5, 3, 6, 8, generator=generator), torch.tensor([0, 3, 1, 1, 2])


def state_of(net: nn.Module) -> tuple:
    return copy.deepcopy(net.state_dict()), [m.training for m in net.modules()], [p.grad for p in net.parameters()]


def assert_untouched(net: nn.Module, before: tuple) -> None:
    state, training, _ = before
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items())
    assert [m.training for m in net.modules()] == training
    assert all(p.grad is None for p in net.parameters())


class TestInputGradient:
    def test_finite_differences(self, batch):
        """Central differences of each image's own loss, in double precision, for some pixels."""
        net, (images, labels) = make_net().double().eval(), batch
        images = images.double()
        found = input_gradient(net, images, labels)
        assert found.shape == (5, 6, 8) and found.dtype == torch.float32
        step = 1e-5
        for b in (0, 3):
            for y, x in ((0, 0), (2, 5), (5, 7)):
                squares = []
                for c in range(3):
                    losses = []
                    for sign in (1, -1):
                        moved = images[b : b + 1].clone()
                        moved[0, c, y, x] += sign * step
                        losses.append(F.cross_entropy(net(moved), labels[b : b + 1]).item())
                    squares.append(((losses[0] - losses[1]) / (2 * step)) ** 2)
                wanted = (sum(squares) / 3) ** 0.5
                assert float(found[b, y, x]) == pytest.approx(wanted, rel=1e-4, abs=1e-9)

    def test_an_image_does_not_depend_on_its_neighbours(self, batch):
        net, (images, labels) = make_net().eval(), batch
        whole = input_gradient(net, images, labels)
        alone = torch.cat([input_gradient(net, images[b : b + 1], labels[b : b + 1]) for b in range(5)])
        torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-7)

    def test_works_where_gradients_are_off(self, batch):
        with torch.no_grad():
            found = input_gradient(make_net().eval(), *batch)
        assert bool(found.any()) and not found.requires_grad

    def test_in_float16_small_gradients_do_not_vanish(self, batch):
        """Of images that the network is sure of, the gradient is below what float16 holds, unless it is scaled."""
        torch.manual_seed(0)
        net, labels = nn.Sequential(nn.Flatten(), nn.Linear(144, 4)), torch.zeros(5, dtype=torch.int64)
        net[1].bias.data[0] = 17
        full = input_gradient(net, batch[0], labels)
        with torch.autocast("cpu", torch.float16):
            half = input_gradient(net, batch[0], labels)
        assert 0 < float(full.amax()) < 5e-8
        assert float((half == 0).float().mean()) < 0.05
        assert float(F.cosine_similarity(half.flatten(), full.flatten(), 0)) > 0.95

    def test_under_autocast(self, batch):
        net = make_net().eval()
        with torch.autocast("cpu", torch.bfloat16):
            half = input_gradient(net, *batch)
            loss = F.cross_entropy(net(batch[0]).float(), batch[1])
        loss.backward()  # the weights cast in there still lead back to the parameters
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in net.parameters())
        full = input_gradient(net, *batch)
        assert half.dtype == torch.float32
        assert float(F.cosine_similarity(half.flatten(), full.flatten(), 0)) > 0.99


class TestRunIn:
    @pytest.mark.parametrize("mode", ["eval", "train"])
    def test_each_module_gets_its_own_mode_back(self, mode):
        net = make_net()
        net[1].eval()  # a frozen BatchNorm in a network that trains
        before = [m.training for m in net.modules()]
        with pytest.raises(KeyError), run_in(mode, net):
            assert net.training == (mode == "train")
            assert not net[1].training, "what is frozen in a network that trains stays so"
            raise KeyError
        assert [m.training for m in net.modules()] == before


class TestServe:
    def test_eval_leaves_no_trace(self, batch):
        net = make_net()
        net[1].eval()
        before = state_of(net)
        served = serve(["saliency", "features", "cam"], net, *batch)
        assert {k: tuple(v.shape) for k, v in served.items()} == {
            "saliency": (5, 6, 8), "features": (5, 8, 2, 3), "cam": (5, 2, 3),
        }  # fmt: skip
        assert_untouched(net, before)

    def test_train_moves_statistics_alone(self, batch):
        net = make_net()
        before = copy.deepcopy(net.state_dict())
        serve(["saliency"], net, *batch, mode="train")
        changed = {k for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
        assert changed == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
        assert all(p.grad is None for p in net.parameters())

    def test_gathered_gradients_stay(self, batch):
        """What earlier micro-batches have left in .grad is neither wiped nor added to."""
        net, (images, labels) = make_net(), batch
        F.cross_entropy(net(images), labels).backward()
        before = [p.grad.clone() for p in net.parameters()]
        serve(["saliency", "cam"], net, images, labels)
        assert all(torch.equal(p.grad, g) for p, g in zip(net.parameters(), before, strict=True))

    def test_maps_are_those_of_the_layers(self, batch):
        net, (images, labels) = make_net().eval(), batch
        served = serve(["features", "cam"], net, images, labels)
        features = net[:5](images)
        assert torch.equal(served["features"], features)
        for b in range(5):
            wanted = sum(net[8].weight[labels[b], c] * features[b, c] for c in range(8))
            torch.testing.assert_close(served["cam"][b], wanted)
        # its mean over space is the logit, but for the bias
        torch.testing.assert_close(
            served["cam"].mean((1, 2)), net(images)[range(5), labels] - net[8].bias[labels], rtol=1e-5, atol=1e-6
        )

    def test_the_last_classifier_counts(self, batch):
        net = nn.Sequential(*make_net()[:7], nn.Linear(8, 8), nn.Identity(), nn.Linear(8, 4)).eval()
        found = serve(["cam"], net, *batch)["cam"]
        torch.testing.assert_close(found, class_activation(net[:5](batch[0]), net[9].weight, batch[1]))

    def test_hooks_are_gone(self, batch):
        net = make_net()
        serve(["features", "cam"], net, *batch)
        assert not any(m._forward_hooks for m in net.modules())

    def test_what_is_wrapped_runs(self, batch):
        class Wrapped(nn.DataParallel):
            def forward(self, *args):
                raise AssertionError("the wrapper ran")

        net = make_net().eval()
        found = serve(["saliency"], Wrapped(net), *batch)["saliency"]
        assert torch.equal(found, serve(["saliency"], net, *batch)["saliency"])

    def test_attention_is_that_of_a_tap_installed_once(self):
        net = timm.create_model("test_vit", img_size=32, patch_size=4).eval()
        twin = copy.deepcopy(net)
        images, labels = torch.rand(2, 3, 32, 32), torch.arange(2)
        served, tap = serve(["attention", "rollout"], net, images, labels), AttentionTap(twin)
        for need in ("attention", "rollout"):
            with torch.no_grad(), tap.recording():
                twin(images)
            torch.testing.assert_close(served[need], getattr(tap, need)())
        hooks = [len(m._forward_hooks) for m in net.modules()]
        serve(["attention"], net, images, labels)
        assert [len(m._forward_hooks) for m in net.modules()] == hooks

    @pytest.mark.parametrize("name", ["test_vit", "test_byobnet"])
    def test_maps_of_timms_networks(self, name):
        """Tokens are no map, and attention's heads are no channels."""
        net, batch = timm.create_model(name, num_classes=4).eval(), (torch.rand(2, 3, 160, 160), torch.arange(2))
        if name == "test_vit":
            with pytest.raises(TypeError, match="ends in no feature map"):
                serve(["features"], net, *batch)
        else:
            assert torch.equal(serve(["features"], net, *batch)["features"], net.forward_features(batch[0]))

    def test_a_deeper_map_of_one_place_is_not_passed_over(self, batch):
        net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 8, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with pytest.raises(TypeError, match="more than one place"):
            serve(["features"], net, batch[0][..., :5, :5], batch[1])

    def test_a_network_that_writes_into_its_input(self, batch):
        net = nn.Sequential(nn.ReLU(inplace=True), make_net()).eval()
        images = batch[0] - 0.5
        kept = images.clone()
        served = serve(["saliency", "features"], net, images, batch[1])
        assert torch.equal(images, kept)
        torch.testing.assert_close(served["features"], net[1][:5](images.relu()))

    def test_in_inference_mode(self, batch):
        net = make_net().eval()
        with torch.inference_mode():
            found = serve(["saliency"], net, batch[0] * 1, batch[1])["saliency"]
        torch.testing.assert_close(found, serve(["saliency"], net, *batch)["saliency"])

    def test_images_in_another_type_than_the_weights(self, batch):
        net = make_net().eval()
        found = serve(["saliency"], net, batch[0].bfloat16(), batch[1])["saliency"]
        assert found.dtype == torch.float32 and bool(found.any())

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (lambda x: x, "model must be a torch.nn.Module, got function"),
            (nn.Identity(), r"the network must return logits \(5, num_classes\), got \(5, 3, 6, 8\)"),
        ],
    )
    def test_what_is_no_classifier(self, batch, model, message):
        with pytest.raises(TypeError, match=message):
            serve(["saliency"], model, *batch)

    def test_a_network_of_tuples(self, batch):
        class Trunk(nn.Module):
            def forward(self, x):
                return x[:, :1], x[:, :2, ::2, ::2]

        assert last_map(Trunk(), batch[0]).shape == (5, 2, 3, 4)

    def test_what_cannot_be_had(self, batch):
        flat = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
        with pytest.raises(TypeError, match="ends in no feature map"):
            serve(["features"], flat, *batch)
        no_classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with pytest.raises(TypeError, match="no linear classifier of its last map's 4 channels"):
            serve(["cam"], no_classifier, *batch)
        with pytest.raises(TypeError, match="attention"):
            serve(["attention"], flat, *batch)


class TestUnwrap:
    def test_distributed(self, tmp_path):
        torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
        try:
            net = nn.Linear(2, 2)
            assert unwrap(nn.parallel.DistributedDataParallel(net)) is net
        finally:
            torch.distributed.destroy_process_group()

    def test_what_wraps_is_taken_off(self):
        net = nn.Linear(2, 2)
        assert unwrap(net) is net
        assert unwrap(nn.DataParallel(net)) is net
        assert unwrap(torch.compile(nn.DataParallel(net), backend="eager")) is net


def test_class_activation_takes_the_own_labels_weights():
    with torch.autocast("cpu", torch.bfloat16):
        assert class_activation(torch.rand(1, 2, 3, 3), torch.rand(4, 2), torch.tensor([0])).dtype == torch.float32
    features = torch.arange(12.0).view(1, 3, 2, 2)
    weight = torch.tensor([[1.0, 0, 0], [0, 1, -1]])
    assert torch.equal(class_activation(features, weight, torch.tensor([0])), features[:, 0])
    assert torch.equal(class_activation(features, weight, torch.tensor([1])), features[:, 1] - features[:, 2])
