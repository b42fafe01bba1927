"""The mixing task: what it draws, what it computes, what it refuses."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.data import Batch
from openmix.mixers import catalog
from openmix.mixers.mixup import plan_mixup
from openmix.models import ClsHead, ClsMixupHead, ConvNet
from openmix.ops.random import sample_integers
from openmix.ops.target import MixTarget
from openmix.tasks import Classification, MixUpClassification, StepContext

CLASSES, WIDTHS = 5, [4, 6, 8]


def context(step: int = 0, shard: int = 0, seed: int = 0) -> StepContext:
    return StepContext(seed, 0, step, shard, 0.0)


def batch(size: int = 6, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(size, 3, 16, 16, generator=generator)
    return Batch((images,), torch.randint(CLASSES, (size,), generator=generator), torch.arange(size))


def task(**options: Any) -> MixUpClassification:
    torch.manual_seed(0)
    head = options.pop("head", None) or ClsMixupHead(CLASSES, WIDTHS[-1], options.pop("label_smoothing", 0.0))
    return MixUpClassification(ConvNet(WIDTHS), head, **options)


def soft_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The definition, label by label: the mean over images of the weighted sum of negative log-probabilities."""
    log_p = logits.double().log_softmax(1)
    losses = [
        -sum(float(w) * log_p[b, int(y)] for y, w in zip(labels[b], weights[b], strict=True))
        for b in range(len(logits))
    ]
    return torch.stack(losses).mean()


class Spied:
    """A task that writes down which mixers it draws and how often its network runs."""

    def __init__(self, spied: MixUpClassification) -> None:
        self.modes: list[str] = []
        self.mixed: list[Any] = []
        self.forwards = 0
        draw = spied._draw_mixer

        def drawing(generator: torch.Generator) -> Any:
            mixer = draw(generator)
            self.modes.append(mixer.name)
            return mixer

        spied._draw_mixer = drawing  # type: ignore[method-assign]
        spied.backbone.register_forward_hook(lambda *_: setattr(self, "forwards", self.forwards + 1))


@pytest.mark.parametrize("mode", ["mixup", "cutmix", "resizemix", "vanilla"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_loss_is_soft_label_cross_entropy_on_the_mixed_batch(mode, per_sample):
    """With the draws of the same generator, mixed by the library's own function."""
    takes = "per_sample" in catalog.get_method(mode).hyper
    mix_args = {mode: {"per_sample": per_sample}} if takes else {}
    net = task(mix_mode=mode, mix_args=mix_args)
    mixer, data = catalog.build_mixer(mode, **mix_args.get(mode, {})), batch()
    mixed = mixer(data.images, data.labels, generator=context(step=3).generator("mix"))
    outputs = net(data, context(step=3))
    logits = net.predict(mixed.images)
    expected = soft_cross_entropy(logits, mixed.target.labels, mixed.target.weights)
    assert outputs["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    dominant = [int(y[w.argmax()]) for y, w in zip(*mixed.target, strict=True)]
    hits = sum(int(p) == y for p, y in zip(logits.argmax(1), dominant, strict=True))
    assert outputs["top1_dominant"].item() == pytest.approx(100 * hits / len(dominant))


def test_label_smoothing_spreads_the_target_once():
    data = batch()
    net = task(mix_mode="mixup", label_smoothing=0.2)
    mixed = catalog.build_mixer("mixup")(data.images, data.labels, generator=context().generator("mix"))
    soft = mixed.target.soft(CLASSES) * 0.8 + 0.2 / CLASSES
    assert net(data, context())["loss"].item() == pytest.approx(F.cross_entropy(net.predict(mixed.images), soft).item())


def test_same_place_in_the_run_same_loss_and_another_place_another():
    """Whatever the process has drawn in between."""
    net, data = task(mix_mode=["mixup", "cutmix"], mix_repeat=2).eval(), batch()
    first = net(data, context(step=5))["loss"]
    torch.rand(10)
    assert torch.equal(net(data, context(step=5))["loss"], first)
    for other in (context(step=6), context(step=5, shard=1), context(step=5, seed=1)):
        assert not torch.equal(net(data, other)["loss"], first)


class TestModes:
    @pytest.mark.parametrize(("mix_prob", "shares"), [(None, [1 / 3] * 3), ([0.6, 0.1, 0.3], [0.6, 0.1, 0.3])])
    def test_are_drawn_as_often_as_they_should_be(self, mix_prob, shares):
        """Within 5 standard deviations of a binomial, over 3,000 places of a run."""
        modes = ["mixup", "vanilla", "cutmix"]
        net = task(mix_mode=modes, mix_prob=mix_prob)
        n = 3000
        drawn = Counter(net._draw_mixer(context(step=s).generator("mix")).name for s in range(n))
        for mode, share in zip(modes, shares, strict=True):
            assert abs(drawn[mode] - n * share) < 5 * (n * share * (1 - share)) ** 0.5

    def test_probability_0_and_1(self):
        net = task(mix_mode=["mixup", "cutmix"], mix_prob=[0, 1])
        assert {net._draw_mixer(context(step=s).generator("mix")).name for s in range(50)} == {"cutmix"}

    def test_one_mode_draws_nothing_for_the_choice(self):
        """So that a list of one is that one."""
        data = batch()
        assert torch.equal(
            task(mix_mode="cutmix")(data, context())["loss"], task(mix_mode=["cutmix"])(data, context())["loss"]
        )

    def test_alpha_for_each_and_mix_args_before_alpha(self):
        modes = ["mixup", "cutmix", "resizemix", "vanilla"]
        net = task(mix_mode=modes, alpha=[0.1, 0.2, 0.3, 0.4], mix_args={"cutmix": {"alpha": 7.0}})
        assert [m.hyper.get("alpha") for m in net.mixers] == [0.1, 7.0, None, None]
        net = task(mix_mode=modes, alpha=0.5, mix_args={"resizemix": {"scope": [0.2, 0.5]}})
        assert [m.hyper.get("alpha") for m in net.mixers] == [0.5, 0.5, None, None]
        assert tuple(net.mixers[2].hyper["scope"]) == (0.2, 0.5)

    def test_presets_can_be_named(self):
        net = task(mix_mode="resizemix", mix_args={"resizemix": {"preset": "openmixup"}})
        assert net.mixers[0].hyper == catalog.build_mixer("resizemix", preset="openmixup").hyper

    def test_vanilla_in_a_list_is_plain_cross_entropy(self):
        net, data = task(mix_mode=["vanilla", "mixup"], mix_prob=[1.0, 0.0]), batch()
        expected = F.cross_entropy(net.predict(data.images), data.labels)
        assert torch.allclose(net(data, context())["loss"], expected)
        torch.manual_seed(0)
        plain = Classification(ConvNet(WIDTHS), ClsHead(CLASSES, WIDTHS[-1]))
        assert torch.allclose(plain(data, context())["loss"], expected)


class TestRepeat:
    def test_mean_of_the_losses_of_so_many_forwards(self):
        """Each repetition goes on in the same stream of draws."""
        data = batch()
        net = task(mix_mode=["mixup", "cutmix"], mix_repeat=3)
        spy = Spied(net)
        outputs = net(data, context(step=2))
        assert spy.forwards == 3
        assert len(spy.modes) == 3
        generator, losses = context(step=2).generator("mix"), []
        for mode in spy.modes:
            torch.multinomial(net.mix_prob, 1, generator=generator)  # the choice
            mixed = catalog.build_mixer(mode)(data.images, data.labels, generator=generator)
            losses.append(soft_cross_entropy(net.predict(mixed.images), mixed.target.labels, mixed.target.weights))
        assert outputs["loss"].item() == pytest.approx(sum(losses).item() / 3, rel=1e-5)

    def test_once_is_one_forward(self):
        net = task()
        spy = Spied(net)
        net(batch(), context())
        assert spy.forwards == 1


def test_gradients_flow_to_every_parameter():
    for mode in ("mixup", "cutmix", "resizemix", "vanilla", "manifoldmix"):
        net = task(mix_mode=mode)
        net(batch(), context())["loss"].backward()
        gradients = {name: p.grad for name, p in net.named_parameters()}
        assert all(g is not None and g.isfinite().all() and g.any() for g in gradients.values()), mode


def test_batch_is_not_changed():
    data = batch()
    before = data.images.clone(), data.labels.clone()
    for mode in ("mixup", "cutmix", "resizemix", "manifoldmix"):
        task(mix_mode=mode)(data, context())
    assert torch.equal(data.images, before[0])
    assert torch.equal(data.labels, before[1])


class TestManifoldMix:
    @pytest.mark.parametrize("layer", [0, 1, 2, 3])
    def test_equals_the_computation_by_hand(self, layer):
        net, data = task(mix_mode="manifoldmix", alpha=1.0, mix_args={"manifoldmix": {"layers": [layer]}}), batch()
        generator = context(step=7).generator("mix")
        assert int(sample_integers(1, (), generator)) == 0  # the layer, of one
        plan = plan_mixup(len(data), generator=generator, alpha=1.0)
        partner, lam = plan.partner, float(plan.lam.flatten()[0])
        assert 0 < lam < 1
        x = data.images
        for number, name in enumerate(["input", *net.backbone.stage_names]):
            x = x if name == "input" else net.backbone.get_submodule(name)(x)
            if number == layer:
                x = lam * x + (1 - lam) * x[partner]
        logits = net.head(x.mean((2, 3)))
        expected = lam * F.cross_entropy(logits, data.labels) + (1 - lam) * F.cross_entropy(
            logits, data.labels[partner]
        )
        assert net(data, context(step=7))["loss"].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_layers_are_drawn_evenly_and_nothing_stays_armed(self):
        net, data = task(mix_mode="manifoldmix"), batch()
        drawn = Counter()
        plain = net.eval().predict(data.images)
        for step in range(300):
            mix = net.mixers[0].function(
                data.labels, generator=context(step).generator("mix"), stages=net.mix_points.stages
            )
            drawn[mix.stage] += 1
        assert set(drawn) == {None, "stage1", "stage2"}
        assert min(drawn.values()) > 60
        for step in range(5):
            net(data, context(step))
            assert torch.equal(net.predict(data.images), plain)

    def test_nothing_stays_armed_after_an_error(self):
        net, data = task(mix_mode="manifoldmix", mix_args={"manifoldmix": {"layers": [1]}}), batch()
        plain = net.eval().predict(data.images)
        with pytest.raises(RuntimeError):
            net(data.with_views(data.images[:, :1]), context())
        assert torch.equal(net.predict(data.images), plain)

    def test_state_dict_has_the_keys_of_a_plain_classifier(self):
        plain = Classification(ConvNet(WIDTHS), ClsHead(CLASSES, WIDTHS[-1]))
        assert list(task(mix_mode=["manifoldmix", "mixup"]).state_dict()) == list(plain.state_dict())

    def test_two_processes_equal_one_that_accumulates(self, lab, ranks, tmp_path):
        """DistributedDataParallel runs the hooks too."""
        model = {"mix_mode": "manifoldmix", "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}}
        path = lab.write(tmp_path, model=model, train_cfg={"max_epochs": 1}, train_dataloader={"batch_size": 4})
        ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
        lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
        lab.train(path, tmp_path / "unmixed", optim_wrapper__accumulative_counts=2, model__mix_mode="vanilla")
        two, one, unmixed = (
            {k: v for k, v in lab.state(tmp_path / run)["model"].items() if "running" not in k and "tracked" not in k}
            for run in ("two", "one", "unmixed")
        )
        assert lab.differences(two, one) == []
        assert lab.differences(two, unmixed) != []

    def test_compiled_backbone_mixes_alike(self):
        """The hooks were there when it was compiled; each stage has a graph, and draws do not make new ones."""
        from torch._dynamo.utils import counters

        net, compiled, data = task(mix_mode="manifoldmix"), task(mix_mode="manifoldmix"), batch()
        torch._dynamo.reset()
        counters.clear()
        compiled.backbone.compile(backend="eager")
        graphs = []
        for step in range(24):
            ours, theirs = net(data, context(step)), compiled(data, context(step))
            torch.testing.assert_close(ours["loss"], theirs["loss"])
            graphs.append(counters["stats"]["unique_graphs"])
        assert 0 < graphs[-1] == graphs[-12]
        torch._dynamo.reset()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"layers": [4]}, r"layers must be numbers from 0 \(input\) to 3"),
            ({"layers": []}, "layers must be"),
            ({"alpha": 0.0}, "alpha"),
        ],
    )
    def test_wrong_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            task(mix_mode="manifoldmix", mix_args={"manifoldmix": options})

    def test_backbone_without_stages(self):
        plain = nn.Sequential(nn.Conv2d(3, 4, 3))
        with pytest.raises(ValueError, match="manifoldmix mixes between stages, but Sequential names none"):
            MixUpClassification(plain, ClsMixupHead(CLASSES, 4), mix_mode="manifoldmix")


class TestLabelMethods:
    """A method that redraws the labels after the forward pass, from the network's features."""

    @pytest.fixture
    def method(self):
        """Enter a label method in the catalogue for a test only."""
        entered = []

        def enter(function: Any, **options: Any) -> None:
            catalog.mixer(function.__name__.title(), kind="label", base="cutmix", **options)(function)
            entered.append(function.__name__)

        catalog.list_mixers()
        before = dict(catalog._METHODS)
        yield enter
        for name in entered:
            catalog._METHODS.pop(name)
        assert before == catalog._METHODS

    def test_labels_follow_the_features_of_the_mixed_images(self, method):
        seen = []

        def byfeatures(mixed: Any, *, features: Tensor, strength: float = 1.0) -> MixTarget:
            seen.append(features)
            own = (strength * features.mean((1, 2, 3))).sigmoid()[:, None]
            return MixTarget(mixed.target.labels, torch.cat([own, 1 - own], dim=1))

        method(byfeatures, needs=("features",))
        net = task(mix_mode="byfeatures", alpha=0.3, mix_args={"byfeatures": {"strength": 2.0}})
        data = batch()
        outputs = net(data, context())
        mixed = catalog.build_mixer("cutmix", alpha=0.3)(data.images, data.labels, generator=context().generator("mix"))
        features = net.backbone(mixed.images)[-1]
        torch.testing.assert_close(seen[0], features)
        assert not seen[0].requires_grad
        own = (2.0 * features.mean((1, 2, 3))).sigmoid().detach()
        weights = torch.stack([own, 1 - own], dim=1)
        expected = soft_cross_entropy(net.predict(mixed.images), mixed.target.labels, weights)
        assert outputs["loss"].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_network_runs_once(self, method):
        def halves(mixed: Any, *, features: Tensor) -> MixTarget:
            return MixTarget(mixed.target.labels, torch.full_like(mixed.target.weights, 0.5))

        method(halves, needs=("features",))
        net = task(mix_mode=["halves", "cutmix"], mix_prob=[1, 0])
        spy = Spied(net)
        net(batch(), context())
        assert spy.forwards == 1

    def test_a_need_that_cannot_be_served_is_found_when_built(self, method):
        def byattention(mixed: Any, *, attention: Tensor) -> MixTarget:
            raise AssertionError("never called")

        method(byattention, needs=("attention",))
        with pytest.raises(
            ValueError,
            match="byattention needs attention, which this task cannot compute on ConvNet; it serves: features",
        ):  # noqa: E501
            task(mix_mode=["mixup", "byattention"])

    def test_catalogue_is_as_it_was(self):
        assert not {"byfeatures", "halves", "byattention"} & set(catalog.list_mixers())

    def test_learned_methods_have_a_task_of_their_own(self, method):
        def learnt() -> None: ...

        catalog.mixer("Learnt", kind="learned")(learnt)
        try:
            with pytest.raises(ValueError, match="learnt owns parameters and is trained by its own task"):
                task(mix_mode="learnt")
        finally:
            catalog._METHODS.pop("learnt")


def test_either_head_will_do():
    data = batch()
    losses = []
    for head in (ClsHead, ClsMixupHead):
        torch.manual_seed(0)
        losses.append(MixUpClassification(ConvNet(WIDTHS), head(CLASSES, WIDTHS[-1]))(data, context())["loss"])
    assert torch.equal(*losses)
