"""Pictures of mixes: that they show what was mixed, say what it is labelled, and fit on the page."""

import itertools

import matplotlib.backends.backend_agg
import numpy as np
import pytest
import torch

import openmix
from openmix.data.batch import Batch
from openmix.engine.mix_picture import Row, draw, take_sample, to_rgb
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.ops.group_plans import StackPlan
from openmix.ops.plans import mix
from openmix.ops.target import Mixed, MixTarget

CLASSES = ["ant", "bee", "cat", "dog", "eel", "fly"]


def make_batch(channels=3, size=(32, 32), n=6):
    images = torch.randint(0, 256, (n, channels, *size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Batch((images,), torch.arange(n), torch.arange(n))


def normalized(batch):
    return Normalize(Preprocessor(mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.1])).batch(batch)


def call(name, batch, **hyper):
    generator = torch.Generator().manual_seed(1)
    return openmix.build_mixer(name, **hyper)(
        batch.images, batch.labels, generator=generator, pixel_range=batch.pixel_range
    )


def texts(figure):
    return [t.get_text() for t in figure.texts]


class TestSample:
    def test_shows_the_loaders_pixels(self):
        """The oracle is the uint8 batch, mixed by the mask pixel for pixel."""
        raw = make_batch()
        batch = normalized(raw)
        mixed = call("cutmix", batch, per_sample=True)
        pictures = raw.images.permute(0, 2, 3, 1).numpy()
        for i in range(6):
            sample = take_sample(batch, mixed, i, CLASSES)
            partner = int(mixed.partner[i])
            np.testing.assert_array_equal(sample.own, pictures[i])
            np.testing.assert_array_equal(sample.share, mixed.mask[i, 0].numpy())
            assert set(np.unique(sample.share)) <= {0.0, 1.0}
            pasted = np.where(sample.share[:, :, None] == 1, pictures[i], pictures[partner])
            np.testing.assert_array_equal(sample.mixed, pasted)
            assert len(sample.partners) == (partner != i)
            if partner != i:
                np.testing.assert_array_equal(sample.partners[0], pictures[partner])
                assert sample.names == [CLASSES[i], CLASSES[partner]]

    def test_label_is_the_own_class_first(self):
        batch = normalized(make_batch())
        mixed = call("mixup", batch)
        target = MixTarget(torch.tensor([[1, 2]] * 6), torch.tensor([[0.625, 0.375]] * 6))
        sample = take_sample(batch, Mixed(mixed.images, target, mixed.plan), 0, CLASSES)
        assert sample.label == [("bee", 0.625), ("cat", 0.375)]

    def test_each_partner_once(self):
        batch = normalized(make_batch())
        mixed = call("starmix", batch, k=9)
        sample = take_sample(batch, mixed, 2, CLASSES)
        others = {int(s) for s in mixed.sources[2]} - {2}
        assert len(mixed.sources[2]) == 9
        assert sorted(sample.names[1:]) == sorted(CLASSES[s] for s in others)
        assert len(sample.partners) == len(others) < 8

    def test_of_a_whole_group_those_that_are_seen(self):
        images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        batch = Batch((images,), torch.arange(20), torch.arange(20))
        mixer = openmix.build_mixer("comixup")
        mixed = mixer(images, batch.labels, generator=torch.Generator().manual_seed(1), saliency=images.mean(1))
        assert mixed.sources.shape == (20, 20)
        for i in range(4):
            sample = take_sample(batch, mixed, i, list(map(str, range(20))))
            seen = {str(j) for j, w in zip(mixed.sources[i].tolist(), mixed.target.weights[i], strict=True) if w > 0}
            assert set(sample.names[1:]) == seen - {str(i)}
            assert len(seen) < 20

    def test_the_share_of_moved_blocks_is_the_images_own(self):
        images = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        batch = Batch((images,), torch.arange(6), torch.arange(6))
        draws, saliency = torch.Generator().manual_seed(0), images.mean(1).pow(4)
        mixed = openmix.PuzzleMix(per_sample=True)(images, batch.labels, generator=draws, saliency=saliency)
        samples = [take_sample(batch, mixed, i, list("abcdef")) for i in range(6)]
        for i, sample in enumerate(samples):
            if int(mixed.partner[i]) != i:
                assert float(sample.share.mean()) == pytest.approx(sample.label[0][1], abs=1e-5)
        assert len({float(s.share.mean()) for s in samples}) > 1

    def test_second_mix_of_a_batch(self):
        """A mix of n images for each of the batch: row B + i is another mix of image i."""
        batch = normalized(make_batch())
        plans = [call("mixup", batch).plan, call("cutmix", batch).plan]
        mixed = mix(batch.images, batch.labels, StackPlan(tuple(plans)))
        sample = take_sample(batch, mixed, 6 + 4, CLASSES)
        np.testing.assert_array_equal(sample.own, make_batch().images[4].permute(1, 2, 0).numpy())
        assert sample.names[0] == "eel"

    def test_gray_and_out_of_range(self):
        batch = Batch((torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1, 1),), torch.arange(3), torch.arange(3))
        mixed = call("vanilla", batch)
        assert [take_sample(batch, mixed, i, CLASSES).own.tolist() for i in range(3)] == [
            [[[v, v, v]]] for v in (0, 128, 255)
        ]


class TestPicture:
    def test_pixels_are_enlarged_in_place(self):
        """Where a panel lies, the rendered page has the image's pixels, each at its place."""
        batch = normalized(make_batch())
        sample = take_sample(batch, call("cutmix", batch), 0, CLASSES)
        figure = draw([Row("cutmix", [sample])])
        page = to_rgb(figure)
        own, partner, _, mixed = figure.axes[:4]
        for axis, picture in ((own, sample.own), (partner, sample.partners[0]), (mixed, sample.mixed)):
            rows, columns = np.mgrid[:32, :32]
            x, y = axis.transData.transform(np.stack([columns.ravel(), rows.ravel()], 1)).T
            seen = page[(page.shape[0] - y).astype(int), x.astype(int)].reshape(32, 32, 3)
            np.testing.assert_array_equal(seen, picture)

    def test_mask_runs_from_dark_to_bright(self):
        batch = normalized(make_batch())
        sample = take_sample(batch, call("cutmix", batch), 0, CLASSES)
        figure = draw([Row("cutmix", [sample])])
        page = to_rgb(figure)
        mask = figure.axes[2]
        assert mask.images[0].get_clim() == (0, 1)
        for value in (0, 1):
            row, column = np.argwhere(sample.share == value)[0] + 0.5
            x, y = mask.transData.transform((column, row))
            seen = page[int(page.shape[0] - y), int(x)].astype(int)
            assert (seen.sum() > 400) == (value == 1)

    def test_says_what_it_is_labelled(self):
        batch = normalized(make_batch())
        mixed = call("cutmix", batch)
        own, other = (f"{w:.2f}" for w in mixed.target.weights[0].tolist())
        said = texts(draw([Row("the title", [take_sample(batch, mixed, 0, CLASSES)])], ["a note"]))
        expected = {
            "the title", "a note", "own", "partner", "own share", f"mixed, λ = {own}", "ant",
            CLASSES[int(mixed.partner[0])], f"ant: {own}", f"{CLASSES[int(mixed.partner[0])]}: {other}", f"mean {own}",
        }  # fmt: skip
        assert expected <= set(said)

    @pytest.mark.parametrize("name", ["vanilla", "cutout"])
    def test_alone(self, name):
        batch = normalized(make_batch())
        said = texts(draw([Row(name, [take_sample(batch, call(name, batch), 0, CLASSES)])]))
        assert "itself" in said
        assert "partner" not in said
        assert "ant: 1.00" in said
        assert "ant: 0.00" not in said

    def test_content_moved(self):
        class Moved(StackPlan):
            masks = None

        batch = normalized(make_batch())
        mixed = mix(batch.images, batch.labels, Moved((call("mixup", batch).plan,)))
        figure = draw([Row("puzzle", [take_sample(batch, mixed, 0, CLASSES)])])
        assert "content moved:\nno mask" in texts(figure)
        assert "own share" not in texts(figure)
        assert len(figure.axes) == 3 + 1

    def test_an_image_that_is_drawn_twice_has_one_share(self):
        """As the second partner of its own mix, it is seen in two fields and named once."""
        batch = normalized(make_batch(n=2))
        mixed = call("mosaic", batch)
        for i in range(2):
            sample = take_sample(batch, mixed, i, CLASSES)
            own = mixed.sources[i] == i
            assert len(sample.label) == len(set(mixed.sources[i].tolist())) <= 2
            assert sample.label[0][1] == pytest.approx(float(mixed.target.weights[i][own].sum()))
            assert float(sample.share.mean()) == pytest.approx(sample.label[0][1])

    def test_constant_share_is_written_in_its_panel(self):
        batch = normalized(make_batch())
        mixed = call("mixup", batch)
        figure = draw([Row("mixup", [take_sample(batch, mixed, 0, CLASSES)])])
        (written,) = figure.axes[2].texts
        assert written.get_text() == f"{mixed.target.weights[0, 0]:.2f}"
        assert figure.axes[2].images[0].get_extent() == [0, 32, 32, 0]

    @pytest.mark.parametrize(("size", "channels"), [((32, 32), 3), ((24, 40), 3), ((40, 24), 1)])
    def test_nothing_is_cut_off_or_written_over(self, size, channels):
        """Texts lie on the page and on no other text or panel, however long the classes' names and many the sources."""
        names = [f"American {word} $x_1$ with a long name" for word in ("WWWWWWWW", *"bcdefghijklm")]
        batch = make_batch(channels, size, n=13)
        batch = Normalize(Preprocessor()).batch(batch)
        hyper = {"starmix": {"k": 9}}
        rows = []
        for name in ("starmix", "mosaic", "cutout", "cutmix", "mixup"):
            mixed = call(name, batch, **hyper.get(name, {}))
            rows.append(Row(name, [take_sample(batch, mixed, i, names) for i in range(2)]))
        figure = draw(rows, ["a note", "another"])
        canvas = matplotlib.backends.backend_agg.FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [t.get_window_extent() for t in figure.texts] + [a.get_window_extent() for a in figure.axes]
        width, height = figure.bbox.size
        for box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        for one, other in itertools.combinations(boxes, 2):
            overlap = (min(one.x1, other.x1) - max(one.x0, other.x0), min(one.y1, other.y1) - max(one.y0, other.y0))
            assert min(overlap) < 2.5, (one, other)  # letters' boxes reach a little above and below them
        assert any("and " in t and t.endswith(" more") for t in texts(figure))
