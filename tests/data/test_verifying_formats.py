"""What is odd about an image, and what only looks so."""

import io

import numpy as np
from PIL import Image

from openmix.data.verifying import inspect


def test_a_cameras_preview_is_no_second_frame():
    file = io.BytesIO()
    picture = Image.effect_noise((64, 48), 50).convert("RGB")
    picture.save(file, "MPO", save_all=True, append_images=[picture.resize((32, 32))])
    assert inspect(np.frombuffer(file.getvalue(), np.uint8), "a.jpg") == (None, ())
