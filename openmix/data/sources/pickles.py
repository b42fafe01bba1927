"""Read the CIFAR batches, which are Python pickles, without being able to run anything that a file says.

A pickle is a program that may call whatever its reader looks up. This reader looks up the four names that plain data
and numpy arrays need, and gives for each a stand-in of its own that does nothing but keep what it is handed; numpy is
then asked for a view of plain bytes. Any other name is refused before it is imported.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from openmix.errors import UserError

__all__ = ["read_plain_pickle"]


def read_plain_pickle(path: Path, expected: str) -> dict[str, Any]:
    """Return the dictionary of plain values and numeric arrays that a pickle holds.

    Python 2 files (whose strings are bytes) and Python 3 ones, protocols 0 to 5, read alike.

    Args:
        path: the file.
        expected: what the file should be, for the error message.

    Returns:
        The dictionary with its keys as str; numpy arrays are read-only views.

    Raises:
        UserError: the file is missing, damaged, not a dictionary, or asks for more than plain data.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; expected {expected}")
    try:
        with path.open("rb") as file:
            content = _PlainUnpickler(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}")
        return {_text(key): _array_of(value) for key, value in content.items()}
    except _RefusedError as refused:
        raise UserError(
            f"{path} was not read: it is a pickle that asks for {refused}, and CIFAR files hold plain data only; "
            "delete it unless you know where it comes from"
        ) from None
    except Exception as error:  # a damaged pickle may raise anything
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged or incomplete: expected {expected} "
            f"({type(error).__name__}: {error})"
        ) from None


class _RefusedError(Exception):
    """A pickle asked for a name that is not on the list."""


class _DType:
    """Stand-in for numpy.dtype: keeps its code and its byte order."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = _text(code)
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def to_numpy(self) -> np.dtype:
        """Return the dtype, which must be one of plain numbers."""
        dtype = np.dtype(self.order + self.code)
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {dtype}")
        return dtype


class _Array:
    """Stand-in for numpy.ndarray: keeps shape, dtype and bytes."""

    value: np.ndarray

    def __init__(self, *_: object) -> None:
        """Take, and ignore, the arguments of numpy's ``_reconstruct``, which makes an empty array."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, raw = state
        self.value = _from_buffer(raw, dtype, shape, "F" if is_fortran else "C").value

    @staticmethod
    def reconstruct(*_: object) -> "_Array":
        """Stand in for numpy's ``_reconstruct``."""
        return _Array()


def _from_buffer(raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str | bytes) -> _Array:
    """Stand in for numpy's ``_frombuffer``, which protocol 5 uses."""
    array = _Array()
    array.value = np.frombuffer(raw, dtype.to_numpy()).reshape(shape, order="F" if _text(order) == "F" else "C")
    return array


def _encode(text: str, encoding: str | bytes) -> bytes:
    """Stand in for ``_codecs.encode``, by which protocols 0 to 2 write bytes."""
    if _text(encoding) != "latin1":
        raise ValueError(f"bytes written as {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _Array.reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _Array.reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("numpy._core.numeric", "_frombuffer"): _from_buffer,
}


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that can look up nothing but the stand-ins above."""

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the stand-in for a name.

        Raises:
            _RefusedError: there is none.
        """
        if (module, name) not in _ALLOWED:
            raise _RefusedError(f"{module}.{name}")
        return _ALLOWED[module, name]


def _text(value: str | bytes) -> str:
    """Return a string that Python 2 may have written as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value


def _array_of(value: Any) -> Any:
    """Return a stand-in's array, and anything else as it is."""
    return value.value if isinstance(value, _Array) else value
