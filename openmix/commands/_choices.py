"""What options choose from, for ``--help``, which must not wait for torch as ``openmix.data`` does; a test compares."""

__all__ = ["FILTERS", "MODES"]

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # openmix.data.resizing.FILTERS
MODES = ("shorter", "square")  # openmix.data.caching.MODES
