import hashlib
import pickle
import time

import numpy as np
import pytest
import torch
import torchvision

from openmix.data import CIFAR10, CIFAR100
from openmix.errors import UserError

PROTOCOLS = ["python2", 0, 2, 3, 4, 5]
CIFAR10_BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def naive(folder, files, label_key):
    """Read the files with Python's own unpickler and put the pixels in place one channel at a time."""
    images, labels = [], []
    for name in files:
        content = pickle.loads((folder / name).read_bytes(), encoding="bytes")
        content = {k.decode() if isinstance(k, bytes) else k: v for k, v in content.items()}
        for row, label in zip(content["data"], content[label_key], strict=True):
            channels = [row[1024 * c : 1024 * (c + 1)].reshape(32, 32) for c in range(3)]
            images.append(np.stack(channels))
            labels.append(label)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")  # the oracle's, not ours
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cifar10_equals_a_naive_reading_of_the_files(write_cifar10, protocol):
    root = write_cifar10(protocol=protocol)
    for split, files in {"train": CIFAR10_BATCHES, "test": ["test_batch"]}.items():
        source = CIFAR10(str(root), split)
        images, labels = naive(root / "cifar-10-batches-py", files, "labels")
        assert torch.equal(source.images, images) and torch.equal(source.labels, labels)
        assert source.images.is_contiguous() and len(source) == 7 * len(files)
        assert source.classes == tuple(f"name{i}" for i in range(10))


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cifar100_has_the_fine_labels(write_cifar100, protocol):
    root = write_cifar100(protocol=protocol)
    for split in ("train", "test"):
        source = CIFAR100(str(root), split)
        images, labels = naive(root / "cifar-100-python", [split], "fine_labels")
        assert torch.equal(source.images, images) and torch.equal(source.labels, labels)
        assert source.classes[99] == "fine99" and source.num_classes == 100


def test_the_root_may_be_the_inner_folder_under_any_name(write_cifar10):
    root = write_cifar10()
    inner = root / "cifar-10-batches-py"
    assert len(CIFAR10(str(inner))) == 35
    inner.rename(root / "mine")
    assert len(CIFAR10(str(root / "mine"))) == 35


def test_shape_and_classes_are_known_without_data():
    assert (CIFAR10.num_classes, CIFAR10.image_shape) == (10, (3, 32, 32))
    assert (CIFAR100.num_classes, CIFAR100.image_shape) == (100, (3, 32, 32))


@pytest.mark.parametrize(("kind", "folder"), [(CIFAR10, "cifar-10-batches-py"), (CIFAR100, "cifar-100-python")])
def test_a_missing_folder_says_where_it_looked_and_how_to_get_the_data(tmp_path, kind, folder):
    with pytest.raises(UserError) as caught:
        kind(str(tmp_path / "data"))
    message = str(caught.value)
    assert str(tmp_path / "data" / folder) in message and "download=True" in message
    assert f"python -c \"import torchvision; torchvision.datasets.{kind.__name__}('{tmp_path}/data'" in message


@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_missing_file_is_named(write_cifar10, name):
    path = write_cifar10() / "cifar-10-batches-py" / name
    path.unlink()
    with pytest.raises(UserError, match=f"{name} is missing; expected a pickled dictionary"):
        CIFAR10(str(path.parent))


@pytest.mark.parametrize("keep", [0, 1, 100, 20_000, -1])
def test_a_truncated_file_is_named_with_its_size(write_cifar10, keep):
    path = write_cifar10() / "cifar-10-batches-py/data_batch_4"
    path.write_bytes(path.read_bytes()[:keep])
    size = f"{path.stat().st_size:,}"
    with pytest.raises(UserError, match=rf"data_batch_4 \({size} bytes\) is damaged or incomplete: expected .*3072"):
        CIFAR10(str(path.parent))


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bits_end_in_a_user_error_or_in_other_values(write_cifar10, seed):
    path = write_cifar10(count=2, protocol=4) / "cifar-10-batches-py/test_batch"
    raw = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    outside_pixels = [*range(120), *range(len(raw) - 60, len(raw))]
    for position in rng.choice(outside_pixels, 3):
        raw[position] ^= 1 << int(rng.integers(8))
    path.write_bytes(raw)
    try:
        assert len(CIFAR10(str(path.parent), "test")) == 2
    except UserError as error:
        assert "test_batch" in str(error)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"data": None}, "it has no array 'data'"),
        ({"data": np.zeros((7, 3071), np.uint8)}, r"'data' is uint8 \(7, 3071\)"),
        ({"data": np.zeros((7, 3072), np.float32)}, r"'data' is float32"),
        ({"data": np.zeros((6, 3072), np.uint8)}, "it has 6 images and 7 labels"),
        ({"labels": ["cat"] * 7}, "it has no integers 'labels'"),
        ({"labels": [0, 1, 2, 3, 4, 5, 10]}, r"its labels span 0\.\.10"),
        ({"labels": [0, 1, 2, 3, 4, 5, -1]}, r"its labels span -1\.\.5"),
    ],
)
def test_content_that_is_not_a_batch_is_refused(write_cifar10, dump, change, found):
    path = write_cifar10() / "cifar-10-batches-py/data_batch_2"
    dump(path, {"data": np.zeros((7, 3072), np.uint8), "labels": [0] * 7, **change}, 4)
    with pytest.raises(UserError, match=rf"data_batch_2 \([\d,]+ bytes\) is not a batch of .*{found}"):
        CIFAR10(str(path.parent))


def test_class_names_must_be_as_many_as_classes(write_cifar10, dump):
    path = write_cifar10() / "cifar-10-batches-py/batches.meta"
    dump(path, {"label_names": ["a"] * 9}, "python2")
    with pytest.raises(UserError, match=r"batches\.meta .*expected a pickled dictionary with 10 'label_names'"):
        CIFAR10(str(path.parent))


def test_an_unknown_split_is_refused(write_cifar10):
    with pytest.raises(UserError, match="CIFAR10 has the splits train and test, not 'val'"):
        CIFAR10(str(write_cifar10()), "val")  # pyright: ignore[reportArgumentType]


def test_download_happens_where_the_folder_is_missing_only(write_cifar10, tmp_path, monkeypatch):
    asked = []

    def fetch(root, download):
        asked.append((root, download))
        write_cifar10()

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", fetch)
    assert len(CIFAR10(str(tmp_path), "test", download=True)) == 7
    assert len(CIFAR10(str(tmp_path), "train", download=True)) == 35
    assert asked == [(str(tmp_path), True)]


def test_a_failing_download_is_a_user_error(tmp_path, monkeypatch):
    def fetch(root, download):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR100", fetch)
    with pytest.raises(UserError, match=r"downloading CIFAR100 to .* failed \(OSError: no route to host\)"):
        CIFAR100(str(tmp_path), download=True)


def test_real_images_are_read_as_they_were_published(unpack, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sha256 = "3af6e0e9748a77a01f2ccb7849e3c79d810942749cf58552efacf4ab34f3d248"  # of the pixels, as n x 32 x 32 x 3
    pixels, labels = unpack.read_shard("test", sha256)
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    rows = pixels.transpose(0, 3, 1, 2).reshape(-1, 3072)
    unpack.write(folder / "test_batch", {b"data": rows, b"labels": labels.astype(int).tolist()})
    unpack.write(folder / "batches.meta", {b"label_names": names})
    source = CIFAR10(str(tmp_path), "test")
    assert hashlib.sha256(source.images.permute(0, 2, 3, 1).contiguous().numpy().tobytes()).hexdigest() == sha256
    assert source.labels.tolist() == labels.tolist() and source.labels.bincount().tolist() == [1000] * 10
    assert source.classes[3] == "cat"


@pytest.mark.slow
def test_fifty_thousand_images_load_in_less_than_two_seconds(write_cifar10):
    root = write_cifar10(count=10_000)
    CIFAR10(str(root), "test")
    start = time.perf_counter()
    assert len(CIFAR10(str(root))) == 50_000
    assert time.perf_counter() - start < 2
