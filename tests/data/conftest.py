"""What the tests of the data package share: small sets, and CIFAR files written by hand."""

import importlib.util
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from openmix.data import ArraySource
from openmix.data.batch import Batch

REAL_CIFAR = Path(__file__).resolve().parents[3] / "shared/data/cifar10"

CifarWriter = Callable[..., Path]


def python2_pickle(value: Any) -> bytes:
    """Opcodes as Python 2 wrote them with protocol 2: every string, raw array data included, is a byte string."""
    if isinstance(value, (bytes, str)):
        raw = value if isinstance(value, bytes) else value.encode()
        return b"T" + struct.pack("<I", len(raw)) + raw
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"(" + b"".join(map(python2_pickle, value)) + b"l"
    if isinstance(value, dict):
        return b"(" + b"".join(python2_pickle(k) + python2_pickle(v) for k, v in value.items()) + b"d"
    shape = b"(" + b"".join(map(python2_pickle, value.shape)) + b"t"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    order = value.dtype.str[:1].encode()
    dtype = b"cnumpy\ndtype\n(" + python2_pickle(value.dtype.str[1:]) + b"K\x00K\x01tR"
    dtype += b"(K\x03U\x01" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return empty + b"(K\x01" + shape + dtype + b"\x89" + python2_pickle(value.tobytes()) + b"tb"


def dump(path: Path, content: Any, protocol: int | str) -> None:
    """Write a pickle: by Python 3 with the protocol of that number, or as 'python2' would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if protocol == "python2":
        path.write_bytes(b"\x80\x02" + python2_pickle(content) + b".")
    else:
        path.write_bytes(pickle.dumps(content, protocol=int(protocol)))


def batch_content(count: int, num_classes: int, label_key: str, seed: int) -> dict[str, Any]:
    """The dictionary of a CIFAR file with random pixels."""
    rng = np.random.default_rng(seed)
    return {
        "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        label_key: rng.integers(0, num_classes, count).tolist(),
        "batch_label": "a batch",
    }


@pytest.fixture(name="dump")
def dump_fixture() -> Callable[[Path, Any, int | str], None]:
    """The function above."""
    return dump


@pytest.fixture
def write_cifar10(tmp_path: Path) -> CifarWriter:
    """Write a small CIFAR-10 into the test's folder and return that folder; ``count`` images a file."""

    def write(count: int = 7, protocol: int | str = "python2") -> Path:
        folder = tmp_path / "cifar-10-batches-py"
        for number, name in enumerate(["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]):
            dump(folder / name, batch_content(count, 10, "labels", number), protocol)
        dump(folder / "batches.meta", {"label_names": [f"name{i}" for i in range(10)], "num_vis": 3072}, protocol)
        return tmp_path

    return write


@pytest.fixture
def write_cifar100(tmp_path: Path) -> CifarWriter:
    """Write a small CIFAR-100 in the official layout into the test's folder and return that folder."""

    def write(count: int = 11, protocol: int | str = "python2") -> Path:
        folder = tmp_path / "cifar-100-python"
        for number, name in enumerate(["test", "train"]):
            content = batch_content(count, 100, "fine_labels", number)
            dump(
                folder / name, {**content, "coarse_labels": [label // 5 for label in content["fine_labels"]]}, protocol
            )
        meta = {"fine_label_names": [f"fine{i}" for i in range(100)], "coarse_label_names": ["c"] * 20}
        dump(folder / "meta", meta, protocol)
        return tmp_path

    return write


@pytest.fixture(scope="session")
def unpack() -> ModuleType:
    """The module that reads the real CIFAR-10 images lying beside the checkout."""
    script = REAL_CIFAR / "unpack.py"
    if not script.is_file():
        pytest.skip("the real CIFAR-10 images are not at ../shared/data/cifar10")
    spec = importlib.util.spec_from_file_location("unpack_real_cifar10", script)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def coordinates() -> ArraySource:
    """60 images of 8 x 12 whose pixels say which image (channel 0), row + 1 (channel 1) and column + 1 (2) they are."""
    images = torch.zeros(60, 3, 8, 12, dtype=torch.uint8)
    images[:, 0] = torch.arange(1, 61, dtype=torch.uint8)[:, None, None]
    images[:, 1] = torch.arange(1, 9, dtype=torch.uint8)[:, None]
    images[:, 2] = torch.arange(1, 13, dtype=torch.uint8)
    return ArraySource(images, torch.arange(60) % 5, list("abcde"))


def same(left: Batch, right: Batch) -> bool:
    """Whether two batches hold equal views, labels and indices."""
    pairs = [*zip(left.views, right.views, strict=True), (left.labels, right.labels), (left.index, right.index)]
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def assert_same_batches() -> Callable[[list[Any], list[Any]], None]:
    """Compare two lists of ``(shard, batch)``."""

    def check(left: list[tuple[int, Batch]], right: list[tuple[int, Batch]]) -> None:
        assert [shard for shard, _ in left] == [shard for shard, _ in right]
        assert left, "nothing to compare"
        assert all(same(a, b) for (_, a), (_, b) in zip(left, right, strict=True))

    return check
