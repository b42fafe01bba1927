"""Which of a task's methods make pictures, and the hook that shows them while a run trains."""

import io
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import openmix
from openmix.commands import run_command
from openmix.data.batch import Batch
from openmix.engine.mix_picture import draw, to_rgb
from openmix.engine.mix_preview import MixPreviewHook, mixed_rows
from openmix.models import ClsMixupHead, ConvNet
from openmix.tasks import MixUpClassification

TENSORBOARD = [{"type": "TensorboardVisBackend"}]


def hook(**arguments):
    return [{"type": "MixPreviewHook", **arguments}]


def pictures(work_dir):
    """Return the pictures in a run's TensorBoard events, uint8 (H, W, 3), by step."""
    events = EventAccumulator(str(work_dir / "vis_data"), size_guidance={"images": 0})
    events.Reload()
    if "mix_preview" not in events.Tags()["images"]:
        return {}
    found = events.Images("mix_preview")
    assert len({event.step for event in found}) == len(found)
    return {
        event.step: (matplotlib.image.imread(io.BytesIO(event.encoded_image_string)) * 255).round().astype(np.uint8)
        for event in found
    }


def make_batch(n=8):
    images = torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return Batch((images,), torch.arange(n), torch.arange(n))


class TestRows:
    def test_epochs_in_which_nothing_is_mixed(self):
        """`mix_epochs` (1, 3): the second and the third epoch mix; the others are shown as the network sees them."""
        mixer = openmix.CutMix()
        task = SimpleNamespace(mixers=[mixer], policy=openmix.Window(openmix.Choice([mixer]), 1, 3))
        for epoch, title in enumerate(["vanilla", "cutmix", "cutmix", "vanilla"]):
            (row,), notes = mixed_rows(task, make_batch(), range(8), 2, seed=0, epoch=epoch)
            assert row.title == title
            idle = [f"nothing is mixed in epoch {epoch + 1} (mix_epochs)"]
            assert notes == (idle if title == "vanilla" else [])

    def test_notes_on_methods_without_a_picture(self):
        method = openmix.CutMix()
        task = SimpleNamespace(
            mixers=[
                openmix.build_mixer("mixup"),
                openmix.build_mixer("manifoldmix"),
                SimpleNamespace(name="redraw", kind="label", needs=("features",), base=method),
            ]
        )
        rows, notes = mixed_rows(task, make_batch(), range(8), 3, seed=0, epoch=0)
        assert [row.title for row in rows] == ["mixup", "redraw"]
        assert notes == [
            "manifoldmix mixes inside the network: no picture",
            "redraw: λ is what cutmix shows; it is weighed anew after the forward pass",
        ]
        assert all(len(row.samples) == 3 for row in rows)

    def test_guided_methods_show_what_guides_them(self):
        """Of the image and of its partner, computed in evaluation: the network stays as it is."""
        torch.manual_seed(0)
        task = MixUpClassification(ConvNet((4, 8)), ClsMixupHead(8, 8), mix_mode=["rmix", "cutmix"])
        before = {k: v.clone() for k, v in task.state_dict().items()}
        batch = make_batch()
        rows, notes = mixed_rows(task, batch, list("abcdefgh"), 3, seed=0, epoch=0)
        assert notes == [] and [row.title for row in rows] == ["rmix", "cutmix"]
        assert all(torch.equal(v, before[k]) for k, v in task.state_dict().items())
        saliency = task.clean_context(batch).serve(["saliency"], "eval")["saliency"].numpy()
        for i, sample in enumerate(rows[0].samples):
            own, *partners = sample.salient
            np.testing.assert_allclose(own, saliency[i], rtol=1e-5)
            for partner in partners:
                assert any(np.allclose(partner, other, rtol=1e-5) for j, other in enumerate(saliency) if j != i)
            assert sample.width > rows[1].samples[0].width
        assert all(len(sample.salient) == 0 for sample in rows[1].samples)
        picture = to_rgb(draw(rows))
        plain = to_rgb(draw(rows[1:]))
        assert picture.shape[1] > 1.4 * plain.shape[1]

    def test_features_are_shown_as_their_mean(self):
        task = MixUpClassification(ConvNet((4, 8)), ClsMixupHead(8, 8), mix_mode="attentivemix")
        batch = make_batch()
        (row,), _ = mixed_rows(task, batch, list("abcdefgh"), 2, seed=0, epoch=0)
        wanted = task.clean_context(batch).serve(["features"], "eval")["features"].mean(1).clamp(min=0)
        for i, sample in enumerate(row.samples):
            np.testing.assert_allclose(sample.salient[0], wanted[i].numpy(), rtol=1e-5)

    def test_relabelling_is_shown_by_its_base(self):
        method = openmix.CutMix()
        relabel = SimpleNamespace(name="redraw", kind="label", needs=("features",), base=method)
        rows, _ = mixed_rows(SimpleNamespace(mixers=[relabel, method]), make_batch(), range(8), 2, seed=0, epoch=0)
        for one, other in zip(rows[0].samples, rows[1].samples, strict=True):
            np.testing.assert_array_equal(one.mixed, other.mixed)

    def test_draws_are_a_function_of_seed_and_epoch(self):
        def shares(seed, epoch):
            (row,), _ = mixed_rows(SimpleNamespace(mixers=[openmix.MixUp()]), make_batch(), range(8), 4, seed, epoch)
            return [sample.label[0][1] for sample in row.samples]

        assert shares(0, 0) == shares(0, 0)
        assert len({*shares(0, 0), *shares(0, 1), *shares(1, 0)}) == 12

    def test_no_more_samples_than_images(self):
        (row,), _ = mixed_rows(SimpleNamespace(mixers=[openmix.MixUp()]), make_batch(3), range(8), 9, 0, 0)
        assert len(row.samples) == 3

    def test_partners_come_from_the_first_images(self):
        """A large batch is not mixed as a whole; what is shown is mixed all the same."""
        seen = []

        def spy(images, labels, **arguments):
            seen.append(len(images))
            return openmix.MixUp()(images, labels)

        spy.name, spy.kind, spy.needs = "spy", "input", ()
        task = SimpleNamespace(mixers=[spy])
        mixed_rows(task, make_batch(200), range(200), 2, 0, 0)
        mixed_rows(task, make_batch(200), range(200), 100, 0, 0)
        assert seen == [64] * 2 + [100] * 100

    def test_task_without_mixers(self):
        assert mixed_rows(SimpleNamespace(), make_batch(), range(8), 2, 0, 0) == ([], [])


@pytest.fixture(scope="module")
def runs(lab, tmp_path_factory):
    """The same run of 3 epochs of 6 steps without and with the hook."""
    folder = tmp_path_factory.mktemp("runs")
    config = {"train_cfg": {"max_epochs": 3}, "vis_backends": TENSORBOARD}
    lab.train(lab.write(folder, "plain", **config), folder / "plain")
    lab.train(lab.write(folder, "shown", **config, custom_hooks=hook(interval=2, images=2)), folder / "shown")
    return folder


class TestHook:
    def test_training_does_not_notice(self, lab, runs):
        lab.assert_same_run(runs / "plain", runs / "shown")
        assert pictures(runs / "plain") == {}

    def test_first_epoch_and_every_interval(self, runs):
        assert list(pictures(runs / "shown")) == [0, 12]

    def test_the_first_is_that_of_the_command(self, runs, capsys):
        """Written as a PNG by other code, from a batch that it loads itself."""
        out = runs / "command.png"
        assert run_command("preview", [str(runs / "shown.py"), "--images", "2", "--out", str(out)]) == 0
        command = (matplotlib.image.imread(out)[:, :, :3] * 255).round().astype(np.uint8)
        shown = pictures(runs / "shown")
        np.testing.assert_array_equal(shown[0], command)
        assert shown[12].shape[2] == 3
        assert not np.array_equal(shown[12][: len(command), : command.shape[1]], command[: len(shown[12])])

    def test_local_backend(self, lab, tmp_path):
        path = lab.write(tmp_path, vis_backends=[{"type": "LocalVisBackend"}, *TENSORBOARD], custom_hooks=hook())
        lab.train(path, tmp_path / "run")
        files = {int(p.stem.rpartition("_")[2]): p for p in (tmp_path / "run").rglob("mix_preview_*.png")}
        events = pictures(tmp_path / "run")
        assert files.keys() == events.keys() == {0, 6}
        for step, file in files.items():
            image = (matplotlib.image.imread(file)[:, :, :3] * 255).round().astype(np.uint8)
            np.testing.assert_array_equal(image, events[step])

    def test_resumed_within_an_epoch(self, lab, tmp_path):
        """The epoch's picture has been drawn before the run was stopped."""
        path = lab.write(tmp_path, vis_backends=TENSORBOARD, custom_hooks=hook())
        assert lab.train(path, tmp_path / "run", stop_after=8) is None
        lab.train(path, tmp_path / "run", resume=True)
        assert sorted(pictures(tmp_path / "run")) == [0, 6]

    def test_nothing_to_draw_to(self, lab, tmp_path):
        lab.train(lab.write(tmp_path, custom_hooks=hook()), tmp_path / "run")
        log = (tmp_path / "run" / "train.log").read_text()
        assert log.count("MixPreviewHook") == log.count("there is nothing to draw to, as vis_backends is empty") == 1

    def test_nothing_to_draw(self, lab, tmp_path):
        model = {
            "type": "Classification",
            "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
            "head": {"type": "ClsHead", "num_classes": 10},
        }
        lab.train(lab.write(tmp_path, model=model, vis_backends=TENSORBOARD, custom_hooks=hook()), tmp_path / "run")
        assert "MixPreviewHook: Classification has no mixers to draw" in (tmp_path / "run" / "train.log").read_text()
        assert pictures(tmp_path / "run") == {}

    def test_rank_0_alone(self):
        """Other ranks have no visualizer, and do not even look at the batch."""
        runner = SimpleNamespace(epoch=0, visualizer=None)
        assert MixPreviewHook().before_train_iter(runner, 0, data_batch=None) is None

    @pytest.mark.parametrize("name", ["interval", "images"])
    def test_wrong_argument(self, name):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            MixPreviewHook(**{name: 0})
