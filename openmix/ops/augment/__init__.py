"""The operations of AutoAugment's family on whole batches: each image has its own operation and magnitude.

All work on float32 images (N, C, H, W) in [0, 1], contiguous, on any device; nothing here draws anything. What an
operation does and what its magnitude means:

=================  ====================================================================================================
identity           nothing
shear_x, shear_y   pixel (y, x) shows (y, x + magnitude * y), or (y + magnitude * x, x), from the top left corner on
translate_x, _y    moves the content by so many pixels to the right, or down
rotate             turns the content by so many degrees about the image's centre, anticlockwise
autocontrast       stretches each channel to [0, 1]; a channel of one value stays
equalize           gives each channel a flat histogram, as far as 256 levels allow
invert             1 - x
posterize          keeps so many of the 8 bits, 0 to 8
solarize           inverts the levels, 0 to 255, from the magnitude on; 256 inverts nothing
brightness         magnitude * x
contrast           magnitude * x + (1 - magnitude) * (mean of the image's gray values)
color              magnitude * x + (1 - magnitude) * gray
sharpness          magnitude * x + (1 - magnitude) * blurred, border pixels excepted
=================  ====================================================================================================
"""

from openmix.ops.augment.chain import OPERATIONS, Chain, choose
from openmix.ops.augment.pixels import check_pixel_range, from_unit, to_unit

__all__ = ["OPERATIONS", "Chain", "check_pixel_range", "choose", "from_unit", "to_unit"]
