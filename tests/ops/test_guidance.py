"""What is asked of a network: against finite differences, image by image, and without a trace left behind."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

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
            assert all(m.training == (mode == "train") for m in net.modules())
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

    def test_a_network_of_tuples(self, batch):
        class Trunk(nn.Module):
            def forward(self, x):
                return x[:, :1], x[:, :2, ::2, ::2]

        assert last_map(Trunk(), batch[0]).shape == (5, 2, 3, 4)

    def test_what_cannot_be_had(self, batch):
        flat = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
        with pytest.raises(TypeError, match="no feature map"):
            serve(["features"], flat, *batch)
        no_classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with pytest.raises(TypeError, match="no linear classifier of its last map's 4 channels"):
            serve(["cam"], no_classifier, *batch)
        with pytest.raises(TypeError, match="attention"):
            serve(["attention"], flat, *batch)


class TestUnwrap:
    def test_what_wraps_is_taken_off(self):
        net = nn.Linear(2, 2)
        assert unwrap(net) is net
        assert unwrap(nn.DataParallel(net)) is net
        assert unwrap(torch.compile(nn.DataParallel(net), backend="eager")) is net


def test_class_activation_takes_the_own_labels_weights():
    features = torch.arange(12.0).view(1, 3, 2, 2)
    weight = torch.tensor([[1.0, 0, 0], [0, 1, -1]])
    assert torch.equal(class_activation(features, weight, torch.tensor([0])), features[:, 0])
    assert torch.equal(class_activation(features, weight, torch.tensor([1])), features[:, 1] - features[:, 2])
