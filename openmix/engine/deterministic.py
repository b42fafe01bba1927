"""Deterministic algorithms for as long as a run lasts."""

import contextlib
import os
from collections.abc import Iterator

import torch

from openmix.errors import UserError

__all__ = ["deterministic_algorithms"]

# what cuBLAS needs to be deterministic, by torch's notes on reproducibility; it is read when CUDA begins
CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextlib.contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Let torch use deterministic algorithms alone, and find out none by trying which is fastest.

    On a CPU torch's algorithms are deterministic as they are, but for a few scatters; runs with and without are then
    equal. What a run computes may depend on the number of threads with either.

    Args:
        wanted: whether to do so; False changes nothing.

    Raises:
        UserError: an operation has no deterministic algorithm; the message names it.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault(*CUBLAS)
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    except RuntimeError as error:
        if "does not have a deterministic implementation" not in str(error):
            raise
        raise UserError(f"--deterministic: {str(error).split(', but you set')[0]}; leave the option out") from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
