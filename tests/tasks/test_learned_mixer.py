"""What tasks of learned mixing show, as mixers, against their own networks; images as another run has them."""

import pytest
import torch

import openmix
from openmix.engine.frozen import FrozenMixer
from openmix.models import ClsHead, ClsMixupHead, ConvNet
from openmix.tasks import AdAutoMixClassification, AutoMixClassification, SAMixClassification
from openmix.tasks.learned_mixer import as_normalised, map_of_stage

TASKS = [AutoMixClassification, SAMixClassification, AdAutoMixClassification]


def make_task(kind):
    torch.manual_seed(0)
    task = kind(ConvNet((4, 8)), ClsMixupHead(10, 8), head_one=ClsHead(10, 8), lam_margin=0.0)
    with torch.no_grad():
        for parameter in task.mix_block.parameters():
            parameter.normal_(std=6)
        for name, value in task.named_buffers():
            if "running_mean" in name:
                value.normal_()
    return task


def make_batch(n=6):
    images = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(n)


@pytest.mark.parametrize("kind", TASKS)
class TestAgainstTheTask:
    def test_equal_bit_for_bit_in_mode_eval(self, kind):
        task = make_task(kind)
        (mixer,) = task.mixers
        images, labels = make_batch()
        mixed = mixer(images, labels, generator=torch.Generator().manual_seed(5))
        task.eval()
        draw = mixer.draws(len(images), generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            shares = task.shares(task.mask_features(images), draw, (8, 8))
        assert shares.std() > 0.001
        expected = draw.mixed(images, labels, shares)
        assert torch.equal(mixed.masks, expected.masks)
        assert torch.equal(mixed.images, expected.images)
        assert torch.equal(mixed.sources, draw.sources)

    def test_masks_are_of_what_is_blended(self, kind):
        """A loop over images and sources."""
        (mixer,) = make_task(kind).mixers
        images, labels = make_batch()
        mixed = mixer(images, labels, generator=torch.Generator().manual_seed(5))
        for i, sources in enumerate(mixed.sources.tolist()):
            assert sources[0] == i
            blend = sum(mixed.masks[i, k] * images[s] for k, s in enumerate(sources))
            torch.testing.assert_close(mixed.images[i], blend)
            assert mixed.target.labels[i].tolist() == sources

    def test_a_task_in_training_is_left_so(self, kind):
        """Modes of every part, running statistics and gradients."""
        task = make_task(kind).train()
        next(iter(task.teacher["backbone"].children())).eval()
        modes = [m.training for m in task.modules()]
        before = {k: v.clone() for k, v in task.state_dict().items()}
        task.mixers[0](*make_batch(), generator=torch.Generator().manual_seed(5))
        assert [m.training for m in task.modules()] == modes and len(set(modes)) == 2
        assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
        assert all(p.grad is None for p in task.parameters())


class TestElsewhere:
    """A frozen one where other libraries' scripts have their mixer."""

    @pytest.fixture
    def mixer(self):
        mixer = openmix.AutoMix()
        mixer.hyper, mixer.function = {"checkpoint": "x"}, FrozenMixer(make_task(AutoMixClassification).mixers[0])
        return mixer

    def test_timm(self, mixer):
        images, labels = make_batch()
        given = [torch.Generator().manual_seed(3) for _ in range(2)]
        mixed, target = openmix.TimmMixup(mixer, num_classes=10, generator=given[0])(images, labels)
        expected = mixer(images, labels, generator=given[1])
        assert torch.equal(mixed, expected.images)
        assert torch.equal(target, expected.target.soft(10))

    def test_collate(self, mixer):
        images, labels = make_batch()
        samples = list(zip(images, labels.tolist(), strict=True))
        mixed, target = openmix.MixCollate(mixer, seed=0)(samples)
        again, _ = openmix.MixCollate(mixer, seed=0)(samples)
        assert torch.equal(mixed, again) and not torch.equal(mixed, images)
        torch.testing.assert_close(target.weights.sum(1), torch.ones(6))

    def test_per_sample(self, mixer):
        """An image that takes no part is what it was."""
        images, labels = make_batch()
        mixed = openmix.PerSample(mixer, 0.5)(images, labels, generator=torch.Generator().manual_seed(3))
        alone = [torch.equal(a, b) for a, b in zip(mixed.images, images, strict=True)]
        assert 0 < sum(alone) < 6
        own = [float(weights[0]) == 1.0 for weights in mixed.target.weights]
        assert own == alone

    def test_choice(self, mixer):
        images, labels = make_batch()
        choice = openmix.Choice([mixer, openmix.CutMix()], probs=[0.5, 0.5])
        assert (choice.kind, choice.frozen) == ("input", True)
        mixes = [choice(images, labels, generator=torch.Generator().manual_seed(seed)) for seed in range(8)]
        assert len({type(mixed.plan) for mixed in mixes}) == 2


class TestNormalisation:
    normal = torch.tensor([[-2.0, -1.0, 0.0], [4.0, 3.0, 2.0]])

    def test_closed_form(self):
        images = make_batch()[0]
        black, white = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.1, 2.2, 3.3])
        given = black[:, None, None] + images * (white - black)[:, None, None]
        wanted = self.normal[0][:, None, None] + images * self.normal[1][:, None, None]
        torch.testing.assert_close(as_normalised(given, torch.stack([black, white]), self.normal), wanted)
        torch.testing.assert_close(as_normalised(images, None, self.normal), wanted)

    def test_the_runs_own_is_left_bit_for_bit(self):
        images = 7 * make_batch()[0] / 3
        own = torch.stack([self.normal[0], self.normal[0] + self.normal[1]])
        assert torch.equal(as_normalised(images, own, self.normal), images)

    def test_other_channels(self):
        with pytest.raises(ValueError, match="images must have the 3 channels of those learned on, got 1"):
            as_normalised(torch.zeros(2, 1, 4, 4), None, self.normal)


def test_a_backbone_without_upto_runs_to_its_end():
    class Whole(ConvNet):
        def forward(self, images):
            return super().forward(images)

    torch.manual_seed(0)
    backbone = Whole((4, 8)).eval()
    images = make_batch()[0]
    assert torch.equal(map_of_stage(backbone, images, 1), ConvNet.forward(backbone, images, 1)[0])
