"""Pictures of tasks that learn without labels: the views that the network gets, masks, and reconstructions."""

import io
from types import SimpleNamespace
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from openmix.commands import run_command
from openmix.commands.preview import rows_of
from openmix.data.batch import Batch
from openmix.engine.picture import Row, draw, to_rgb
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.engine.view_picture import Panel, ViewSample
from openmix.engine.view_preview import view_rows
from openmix.registry import build_task

CLASSES = list("abcdefghij")
FLIP = {"type": "RandomHorizontalFlip", "p": 1.0}
TRUNK = {
    "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
    "probe": {"type": "ClsHead", "num_classes": 10},
}
SIMCLR = {"type": "SimCLR", **TRUNK, "projector": {"type": "ProjectionMLP", "channels": [4]}}
MOCO = {**SIMCLR, "type": "MoCo", "queue_size": 16}
VIT = {"patch_size": 2, "embed_dim": 16, "depth": 1, "num_heads": 2, "proj_drop_rate": 0.5}
MAE: dict[str, Any] = {
    "type": "MAE",
    "backbone": {
        "type": "TimmBackbone",
        "name": "vit_tiny_patch16_224",
        "img_size": 8,
        "in_channels": 1,
        "model_args": VIT,
    },
    "probe": {"type": "ClsHead", "num_classes": 10},
    "decoder": {"type": "MAEDecoder", "embed_dim": 16, "depth": 1, "num_heads": 2},
}


def make_batch(n=6, views=2, channels=1, size=(8, 8)):
    """A batch as a loader gives it, and as the network does."""
    draws = torch.Generator().manual_seed(0)
    shape = (n, channels, *size)
    images = tuple(torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8) for _ in range(views))
    raw = Batch(images, torch.arange(n) % 10, torch.arange(n))
    return raw, Normalize(Preprocessor(mean=[0.3], std=[0.2])).batch(raw)


def headings(row):
    (found,) = {tuple(panel.heading for panel in sample.panels) for sample in row.samples}
    return list(found)


class TestViews:
    def test_are_the_loaders_pixels(self):
        raw, batch = make_batch(views=3)
        (row,), notes = view_rows(SimpleNamespace(views_needed=2), batch, CLASSES, 4, seed=0, epoch=0)
        assert notes == [] and row.title == "SimpleNamespace"
        assert [sample.name for sample in row.samples] == ["a", "b", "c", "d"]
        for i, sample in enumerate(row.samples):
            for panel, view in zip(sample.panels, raw.views, strict=True):
                expected = view[i].expand(3, -1, -1).permute(1, 2, 0).numpy()
                np.testing.assert_array_equal(panel.picture, expected)

    @pytest.mark.parametrize(
        ("task", "views", "expected"),
        [
            ({}, 2, ["view 1", "view 2"]),
            ({"symmetric": True}, 2, ["view 1", "view 2"]),
            ({"symmetric": False}, 2, ["query", "key"]),
            ({"symmetric": False}, 3, ["query", "key 1", "key 2"]),
        ],
    )
    def test_are_query_and_keys_where_the_loss_goes_one_way(self, task, views, expected):
        (row,), _ = view_rows(SimpleNamespace(views_needed=2, **task), make_batch(views=views)[1], CLASSES, 2, 0, 0)
        assert headings(row) == expected

    def test_no_more_than_there_are(self):
        (row,), _ = view_rows(SimpleNamespace(views_needed=2), make_batch(3)[1], CLASSES, 9, 0, 0)
        assert len(row.samples) == 3


class TestReconstruction:
    @pytest.fixture(params=[True, False], ids=["normalised", "plain"])
    def task(self, request):
        torch.manual_seed(0)
        return build_task({**MAE, "norm_pix_loss": request.param}).train()

    def test_hidden_patches_are_the_networks_the_others_the_images(self, task):
        raw, batch = make_batch()
        (row,), notes = view_rows(task, batch, CLASSES, 3, seed=0, epoch=0)
        assert row.title == "MAE" and headings(row) == ["image", "seen", "reconstruction"]
        assert [("mean" in note) for note in notes] == [True] * task.norm_pix_loss
        for i, sample in enumerate(row.samples):
            image, seen, said = (panel.picture for panel in sample.panels)
            np.testing.assert_array_equal(image, raw.images[i].expand(3, -1, -1).permute(1, 2, 0).numpy())
            patches = [np.s_[y : y + 2, x : x + 2] for y in range(0, 8, 2) for x in range(0, 8, 2)]
            hidden = [p for p in patches if (seen[p] == 128).all()]
            assert len(hidden) == 12  # three quarters of 16
            for patch in patches:
                if patch in hidden:
                    assert not np.array_equal(said[patch], image[patch])
                else:
                    np.testing.assert_array_equal(said[patch], image[patch])
                    np.testing.assert_array_equal(seen[patch], image[patch])

    def test_it_is_what_the_task_says_in_evaluation(self, task):
        """A second way: with the task's own call, normalised pixels turned back by hand."""
        from openmix.ops.random import generator_for

        _, batch = make_batch()
        (row,), _ = view_rows(task, batch, CLASSES, 3, seed=5, epoch=2)
        removed, pixels = task.eval().reconstruct(batch.images[:3], generator_for(5, "preview", 2))
        grey = ((pixels * 0.2 + 0.3).clamp(0, 1) * 255).round()
        for i, sample in enumerate(row.samples):
            seen, said = sample.panels[1].picture[:, :, 0], sample.panels[2].picture[:, :, 0]
            for n in removed[i].nonzero().flatten().tolist():
                patch = np.s_[n // 4 * 2 : n // 4 * 2 + 2, n % 4 * 2 : n % 4 * 2 + 2]
                assert (seen[patch] == 128).all()
                np.testing.assert_allclose(said[patch].astype(int), grey[i, 0][patch].numpy(), atol=1)

    def test_nothing_of_the_network_changes(self, task):
        before = {name: value.clone() for name, value in task.state_dict().items()}
        state = torch.get_rng_state()
        view_rows(task, make_batch()[1], CLASSES, 3, 0, 0)
        assert torch.equal(state, torch.get_rng_state())
        assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
        assert all(module.training for module in task.modules())
        assert all(p.grad is None for p in task.parameters())

    def test_masks_are_a_function_of_seed_and_epoch(self, task):
        def seen(seed, epoch):
            (row,), _ = view_rows(task, make_batch()[1], CLASSES, 3, seed, epoch)
            return b"".join(sample.panels[1].picture.tobytes() for sample in row.samples)

        assert seen(0, 0) == seen(0, 0)
        assert len({seen(0, 0), seen(0, 1), seen(1, 0)}) == 3


class TestPage:
    def test_pixels_are_enlarged_in_place(self):
        """A view of 32 pixels is shown four times as large, one of 16 eight times; none of a mask's legend."""
        draws = np.random.default_rng(0)
        large, small = (draws.integers(0, 256, (size, size, 3), dtype=np.uint8) for size in (32, 16))
        sample = ViewSample([Panel("query", large), Panel("key", small)], "cat")
        figure = draw([Row("MoCo", [sample])], ["a note"])
        assert [t.get_text() for t in figure.texts] == ["MoCo", "query", "cat", "key", "a note"]
        page = to_rgb(figure)
        for axis, picture, factor in zip(figure.axes, (large, small), (4, 8), strict=True):
            x, y = (round(v) for v in axis.get_position().get_points()[[0, 1], [0, 1]] * [page.shape[1], page.shape[0]])
            shown = page[page.shape[0] - y :, x:][: 4 * 32 : factor, : 4 * 32 : factor]
            np.testing.assert_array_equal(shown, picture)

    def test_tall_images_and_long_classes_fit(self):
        sample = ViewSample([Panel("query", np.zeros((16, 8, 3), np.uint8))], "a class of a very, very long name")
        assert sample.height == pytest.approx(1.125)
        figure = draw([Row("MoCo", [sample, sample])])
        name = figure.texts[2]
        assert name.get_text().endswith("…")


def write(lab, folder, name, model, **changes):
    loader = {"pipeline": [{"type": "Views", "views": [[], [FLIP]]}]} if model is not MAE else {"pipeline": [FLIP]}
    return lab.write(folder, name, model=model, train_dataloader=loader, **changes)


class TestCommand:
    def test_views(self, lab, tmp_path, capsys):
        """The second view is the first one mirrored."""
        path, out = write(lab, tmp_path, "moco", MOCO), tmp_path / "p.png"
        assert run_command("preview", [path, "--out", str(out), "--images", "2"]) == 0
        assert matplotlib.image.imread(out).shape[2] == 4
        (row,), _ = rows_of(path, 3)
        assert row.title == "MoCo" and headings(row) == ["query", "key"]
        for sample in row.samples:
            query, key = (panel.picture for panel in sample.panels)
            np.testing.assert_array_equal(query[:, ::-1], key)

    def test_reconstructions_say_whose_they_are(self, lab, tmp_path):
        path = write(lab, tmp_path, "mae", MAE)
        lab.train(path, tmp_path / "run")
        checkpoint = tmp_path / "run" / "checkpoints" / "last.pth"
        (begin,), _ = rows_of(path, 3)
        (trained,), _ = rows_of(path, 3, str(checkpoint))
        assert (begin.title, trained.title) == ("MAE: the untrained network", "MAE: last.pth")
        for one, other in zip(begin.samples, trained.samples, strict=True):
            for a, b, same in zip(one.panels, other.panels, (True, True, False), strict=True):
                assert np.array_equal(a.picture, b.picture) == same

    def test_beside_a_config_that_mixes(self, lab, tmp_path):
        paths = [write(lab, tmp_path, "moco", MOCO), lab.write(tmp_path, "mixed")]
        assert run_command("preview", [*paths, "--out", str(tmp_path / "p.png"), "--images", "1"]) == 0


def pictures(work_dir):
    events = EventAccumulator(str(work_dir / "vis_data"), size_guidance={"images": 0})
    events.Reload()
    return {
        event.step: (matplotlib.image.imread(io.BytesIO(event.encoded_image_string)) * 255).round().astype(np.uint8)
        for event in events.Images("mix_preview")
    }


@pytest.mark.parametrize("model", [MOCO, MAE], ids=["MoCo", "MAE"])
def test_training_does_not_notice_the_hook(lab, tmp_path, model):
    """Weights, queue, average and records are equal; the pictures are of the first epoch and of the third."""
    config = {"train_cfg": {"max_epochs": 3}, "vis_backends": [{"type": "TensorboardVisBackend"}]}
    lab.train(write(lab, tmp_path, "plain", model, **config), tmp_path / "plain")
    hook = [{"type": "MixPreviewHook", "interval": 2, "images": 2}]
    path = write(lab, tmp_path, "shown", model, **config, custom_hooks=hook)
    lab.train(path, tmp_path / "shown")
    lab.assert_same_run(tmp_path / "plain", tmp_path / "shown")
    found = pictures(tmp_path / "shown")
    assert list(found) == [0, 12]
    assert "no mixers" not in (tmp_path / "shown" / "train.log").read_text()
    assert found[0].shape == found[12].shape and not np.array_equal(found[0], found[12])
