"""Write a file such that it is there entirely or not at all."""

import os
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes, durable: bool = True) -> None:
    """Write a file beside its place and rename it.

    Args:
        path: where.
        content: what.
        durable: whether it is to hold after the machine went down, too, which takes a moment of the disk's.
    """
    beside = path.with_name(f".{path.name}.tmp")  # always this name, so that what a kill leaves is written over
    try:
        with open(beside, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
