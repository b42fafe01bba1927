"""Pipelines that begin with a random crop: the same batches as without any saving."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from openmix.data import ImageFolder, Synthetic, TorchLoader
from openmix.data.loaders import fused
from openmix.data.loaders.fused import CroppedSource, fuse
from openmix.data.loaders.sampling import BatchFetcher
from openmix.data.sources.encoded import EncodedSource
from openmix.errors import DamagedImageError, UserError

PHOTOS = Path(__file__).resolve().parents[3] / "shared/data/photos"

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class Encoded(EncodedSource):
    """Images of several formats and sizes in memory."""

    def __init__(self, images: list[bytes]) -> None:
        super().__init__(torch.arange(len(images)) % 3, "abc")
        self.images = images
        self.asked = []

    def encoded(self, index):
        self.asked.append(index)
        return np.frombuffer(self.images[index], np.uint8)

    def name(self, index):
        return f"image {index}"


def picture(width: int, height: int, kind: str = "JPEG", mode: str = "RGB", **options) -> bytes:
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize((width, height))
    file = io.BytesIO()
    coarse.convert(mode).save(file, kind, **options)
    return file.getvalue()


IMAGES = [
    picture(90, 70), picture(50, 80, "PNG"), picture(64, 64, subsampling=0), picture(33, 200), picture(200, 33),
    picture(70, 70, mode="L"), picture(70, 71, mode="CMYK"), picture(71, 71, progressive=True), picture(1, 1),
    picture(72, 72, "WEBP"), picture(500, 375), picture(31, 31, subsampling=2),
]  # fmt: skip


def random_crop(**options) -> v2.RandomResizedCrop:
    return v2.RandomResizedCrop(**{"size": 32, **options})


def noise(image):
    """Draw once more, so that a generator left elsewhere shows."""
    return image ^ torch.randint(0, 256, image.shape, dtype=torch.uint8)


def plain(monkeypatch, *args, **options) -> TorchLoader:
    """Return a loader without any saving."""
    with monkeypatch.context() as patch:
        patch.setattr(fused, "_is_plain_crop", lambda _: False)
        loader = TorchLoader(*args, **options)
    return loader


CROPS = {
    "as it is": random_crop(),
    "another shape": random_crop(size=(20, 44)),
    "small parts": random_crop(scale=(0.01, 0.1)),
    "wide": random_crop(ratio=(1.5, 1.9)),
    "never fits": random_crop(ratio=(1.6, 1.9), scale=(0.99, 1.0)),  # then torchvision takes the middle
    "bicubic": random_crop(interpolation=v2.InterpolationMode.BICUBIC),
    "nearest": random_crop(interpolation=v2.InterpolationMode.NEAREST),
    "without antialias": random_crop(antialias=False),
}


@pytest.mark.parametrize("crop", CROPS.values(), ids=CROPS)
@pytest.mark.parametrize("rest", [(), (v2.RandomHorizontalFlip(), noise, v2.ColorJitter(0.4, 0.4), noise)])
def test_batches_are_those_of_decoding_whole_images(monkeypatch, assert_same_batches, crop, rest):
    source = Encoded(IMAGES)
    expected = plain(monkeypatch, source, 4, pipeline=[crop, *rest], seed=3)
    loader = TorchLoader(source, 4, pipeline=[crop, *rest], seed=3)
    for epoch in range(2):
        assert_same_batches(list(loader.epoch(epoch)), list(expected.epoch(epoch)))
    for found, wanted in zip(loader.evaluate(), expected.evaluate(), strict=True):
        assert torch.equal(found.images, wanted.images) and torch.equal(found.labels, wanted.labels)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/data/photos")
def test_photos_at_full_size(monkeypatch, tmp_path, assert_same_batches):
    (tmp_path / "x").symlink_to(PHOTOS)
    source = ImageFolder(str(tmp_path)).take(40)
    pipeline = [v2.RandomResizedCrop(224), v2.RandomHorizontalFlip()]
    expected = plain(monkeypatch, source, 20, pipeline=pipeline)
    assert_same_batches(list(TorchLoader(source, 20, pipeline=pipeline).epoch(0)), list(expected.epoch(0)))


@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_the_number_of_workers_does_not_change_the_batches(assert_same_batches, decode):
    found = []
    for workers in (0, 1, 3):
        loader = TorchLoader(Encoded(IMAGES), 4, pipeline=[random_crop(), noise], num_workers=workers, decode=decode)
        found.append([*loader.epoch(0), *loader.epoch(1, start_step=1)])
        loader.close()
    assert_same_batches(found[0], found[1])
    assert_same_batches(found[0], found[2])


def test_fast_draws_the_same_and_differs_little_where_images_are_large():
    source = Encoded([picture(500, 375), picture(400, 400, quality=95)])
    drawn = {}
    for decode in ("fast", "exact"):
        draws = []
        crop = random_crop(scale=(0.5, 1.0))
        pipeline = [crop, lambda image, draws=draws: draws.append(torch.rand(3)) or image]
        batches = list(TorchLoader(source, 2, pipeline=pipeline, decode=decode).epoch(0))
        drawn[decode] = batches[0][1].images.float(), torch.stack(draws)
    assert torch.equal(drawn["fast"][1], drawn["exact"][1])
    difference = (drawn["fast"][0] - drawn["exact"][0]).abs().mean()
    assert 0 < difference < 2


def test_nothing_else_is_touched():
    class Subclass(v2.RandomResizedCrop):
        pass

    class Own(Encoded):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image.flip(-1), label

    source = Encoded(IMAGES)
    for pipeline in ([], [v2.Resize(32)], [Subclass(32)], [v2.ToImage(), random_crop()], [torch.nn.Identity()]):
        assert fuse(source, pipeline, "fast") == (source, tuple(pipeline))
    for other in (Own(IMAGES), Synthetic(10, (3, 8, 8), 12)):
        assert fuse(other, [random_crop()], "fast")[0] is other
    fetched, rest = fuse(source, [random_crop(), noise], "fast")
    assert isinstance(fetched, CroppedSource) and rest == (noise,) and len(fetched) == len(source)


def test_each_image_is_read_once_and_survives_pickling():
    source = Encoded(IMAGES)
    fetcher = pickle.loads(pickle.dumps(BatchFetcher(source, [random_crop()], 0)))
    batch = fetcher.__getitems__((0, np.arange(12)))
    assert fetcher.dataset.source.asked == [*range(12)] and batch.labels.tolist() == [0, 1, 2] * 4
    assert torch.equal(batch.images, BatchFetcher(source, [random_crop()], 0).__getitems__((0, np.arange(12))).images)


def test_damaged_images_are_named_and_replaced(monkeypatch):
    cut = IMAGES[0][: len(IMAGES[0]) // 2]
    source = Encoded([IMAGES[0], cut, *IMAGES[2:6], b"", IMAGES[7]])
    with pytest.raises(DamagedImageError, match=r"^image 1 .*is damaged"):
        fuse(source, [random_crop()], "exact")[0][1]
    options = {"pipeline": [random_crop(), noise], "seed": 5}
    (batch,) = TorchLoader(source, 8, **options).evaluate()
    (expected,) = plain(monkeypatch, source, 8, **options).evaluate()
    assert [error.name for error in batch.damaged] == ["image 1", "image 6"]
    assert torch.equal(batch.images, expected.images) and torch.equal(batch.labels, expected.labels)


def test_an_unknown_way_is_refused():
    with pytest.raises(UserError, match="decode must be 'fast' or 'exact', not 'fst'; did you mean 'fast'"):
        TorchLoader(Encoded(IMAGES), 4, decode="fst")
