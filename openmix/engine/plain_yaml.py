"""YAML as data: nothing that a file names is called, and a small file cannot become a huge one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml
from mmengine.fileio import YamlHandler
from mmengine.fileio.handlers.registry_utils import file_handlers

__all__ = ["PlainLoader", "yaml_as_data"]

MOST_NODES = 100_000  # of a file with its aliases written out; the largest configs have some hundreds


class PlainLoader(yaml.SafeLoader):
    """Reads YAML as data, with tuples, which mmcv writes.

    Tags such as ``!!python/object/apply`` are errors, and so are aliases that multiply (``[*a, *a]`` of ``[*b, *b]``
    of ...) or that hold themselves.

    >>> yaml.load("size: !!python/tuple [32, 32]", PlainLoader)
    {'size': (32, 32)}
    """

    def get_single_node(self) -> Any:
        """Return the document's tree.

        Raises:
            yaml.YAMLError: it is no YAML, or is larger than any config.
        """
        node = super().get_single_node()
        if node is not None and _size(node, {}) > MOST_NODES:
            raise yaml.YAMLError(f"its aliases make it more than {MOST_NODES:,} values")
        return node


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many values a node stands for, with every alias written out."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = 0  # which only an alias to what holds it can find
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        sizes[id(node)] = 1 + sum(_size(part, sizes) for part in parts)
    elif not sizes[id(node)]:
        raise yaml.YAMLError(f"an alias of what is around it{node.start_mark}")
    return sizes[id(node)]


def _tuple(loader: PlainLoader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node, deep=True))


PlainLoader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


class _PlainYaml(YamlHandler):
    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        return super().load_from_fileobj(file, **{"Loader": PlainLoader, **kwargs})


@contextmanager
def yaml_as_data() -> Iterator[None]:
    """Keep mmengine, whose own loader makes any Python object, from executing what YAML names."""
    before = {kind: file_handlers[kind] for kind in ("yaml", "yml")}
    file_handlers.update(dict.fromkeys(before, _PlainYaml()))
    try:
        yield
    finally:
        file_handlers.update(before)
