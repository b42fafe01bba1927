import os
import pickle

import numpy as np
import pytest

from openmix.data.sources.pickles import read_plain_pickle
from openmix.errors import UserError

ARRAYS = [
    np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.asfortranarray(np.arange(12, dtype=np.int64).reshape(3, 4)),
    np.arange(5, dtype=">i4"),
    np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 2, 2),
    np.array(3.5),
    np.array([True, False]),
]


class Evil:
    """Unpickled by Python, it makes a file."""

    def __init__(self, call, *arguments):
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


def read(path, raw):
    path.write_bytes(raw)
    return read_plain_pickle(path, "a test")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_and_plain_values_are_read_as_pickle_reads_them(tmp_path, protocol, array):
    content = {"array": array, "bytes": b"\x00\xff\n", "text": "é", "list": [1, -2, 2**40], "none": None, "f": 0.5}
    got = read(tmp_path / "f", pickle.dumps(content, protocol=protocol))
    assert got.pop("array").dtype == array.dtype
    assert got == {k: v for k, v in content.items() if k != "array"}
    again = read_plain_pickle(tmp_path / "f", "a test")["array"]
    assert again.shape == array.shape and np.array_equal(again, array)


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_both_spellings_of_numpys_module_are_read_without_a_warning(tmp_path, protocol):
    raw = pickle.dumps({"a": ARRAYS[0]}, protocol=protocol)
    new, old = raw.replace(b"numpy.core", b"numpy._core"), raw.replace(b"numpy._core", b"numpy.core")
    assert new != old
    assert np.array_equal(read(tmp_path / "new", new)["a"], read(tmp_path / "old", old)["a"])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("where", ["value", "key", "whole", "beside an array"])
def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path, protocol, where):
    marker = tmp_path / "marker"
    evil = Evil(os.mkdir, str(marker))
    content = {
        "value": {"data": evil},
        "key": {Evil(os.mkdir, str(marker)): 1},
        "whole": evil,
        "beside an array": {"data": ARRAYS[0], "labels": [evil]},
    }[where]
    raw = pickle.dumps(content, protocol=protocol)
    with pytest.raises(UserError, match=r"f was not read: .*asks for posix\.mkdir"):
        read(tmp_path / "f", raw)
    assert not marker.exists()
    pickle.loads(raw)
    assert marker.exists(), "the pickle was harmless, so this test showed nothing"


@pytest.mark.parametrize(
    "name",
    [
        "builtins eval",
        "builtins getattr",
        "numpy load",
        "numpy.core.multiarray scalar",
        "numpy ndarray.tofile",
        "openmix.data.sources.pickles os",
        "torch.storage _load_from_bytes",
    ],
)
@pytest.mark.parametrize("stack_global", [False, True])
def test_only_the_few_names_are_looked_up(tmp_path, name, stack_global):
    module, attribute = name.split()
    if stack_global:
        strings = [b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, attribute)]
        raw = b"\x80\x04" + b"".join(strings) + b"\x93."
    else:
        raw = f"c{module}\n{attribute}\n.".encode()
    with pytest.raises(UserError, match=f"asks for {module}.{attribute}"):
        read(tmp_path / "f", raw)


@pytest.mark.parametrize("array", [np.array([{}]), np.array([(1, 2)], "i4,i4"), np.array(["abc"]), np.array([1j])])
def test_arrays_of_other_things_than_real_numbers_are_refused(tmp_path, array):
    with pytest.raises(UserError, match="damaged or incomplete"):
        read(tmp_path / "f", pickle.dumps({"a": array}, protocol=4))


@pytest.mark.parametrize("content", [[1, 2], "text", None, ARRAYS[0]])
def test_what_is_not_a_dictionary_is_refused(tmp_path, content):
    with pytest.raises(UserError, match=r"expected a test \(TypeError: it holds a "):
        read(tmp_path / "f", pickle.dumps(content))


def test_a_file_that_is_no_pickle_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"f \(6 bytes\) is damaged or incomplete"):
        read(tmp_path / "f", b"<html>")
