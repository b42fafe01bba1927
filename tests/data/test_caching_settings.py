"""What makes a cache another one, and how an image is fitted into it."""

import numpy as np
import torch
from PIL import Image

from openmix.commands._data_cache import _settings
from openmix.data.caching import ImageCacher, fit
from openmix.data.sources.files import FileSource, PathList


def test_a_cache_of_other_names_or_labels_is_another(tmp_path):
    def settings(names, labels):
        source = FileSource(PathList("set", names), torch.tensor(labels), "ab")
        return _settings(ImageCacher(source, tmp_path, 8))

    first = settings(["x.jpg", "y.jpg"], [0, 1])
    assert first == settings(["x.jpg", "y.jpg"], [0, 1])
    assert first != settings(["x.jpg", "z.jpg"], [0, 1])
    assert first != settings(["x.jpg", "y.jpg"], [1, 1])


def test_the_middle_may_lie_between_two_pixels():
    pixels = np.arange(9 * 4 * 3, dtype=np.uint8).reshape(4, 9, 3) * 2
    expected = Image.fromarray(pixels).resize((2, 2), Image.Resampling.BILINEAR, box=(2.5, 0, 6.5, 4))
    result = fit(torch.from_numpy(pixels).permute(2, 0, 1), 2, "shorter", "bilinear")
    assert np.array_equal(result.permute(1, 2, 0), expected)
