"""Boxes of random crops where none of the tries fits."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from openmix.data.transforms.crop_boxes import NUMBERS_A_BOX, boxes_from
from openmix.data.transforms.cropmix_single import _box


@pytest.mark.parametrize(("height", "width"), [(100, 8), (101, 8), (8, 100), (51, 7), (7, 50), (1, 9), (101, 10)])
def test_of_an_image_that_is_too_long_a_crop_is_the_centre_that_torchvision_takes(height, width):
    params = v2.RandomResizedCrop(8, (1, 1)).make_params([torch.empty(3, height, width)])
    top, left = params["top"], params["left"]
    expected = [top, top + params["height"], left, left + params["width"]]
    one = np.ones((1, 1))
    boxes = boxes_from(np.array([height]), np.array([width]), one, one, np.full((1, 1, NUMBERS_A_BOX), 0.5))
    assert boxes[0, 0].tolist() == list(_box(height, width, 1.0, 1.0, [0.5] * NUMBERS_A_BOX)) == expected
