"""From a data set to batches. ``LOADERS`` holds the loaders that a config may name."""

from openmix.data.loaders.dali_loader import DaliLoader
from openmix.data.loaders.dali_reader_loader import DaliReaderLoader
from openmix.data.loaders.phased import PhasedLoader
from openmix.data.loaders.protocol import BaseLoader, Loader
from openmix.data.loaders.resident import ResidentLoader
from openmix.data.loaders.torch_loader import TorchLoader

__all__ = [
    "LOADERS", "BaseLoader", "DaliLoader", "DaliReaderLoader", "Loader", "PhasedLoader", "ResidentLoader",
    "TorchLoader",
]  # fmt: skip

LOADERS: dict[str, type[BaseLoader] | type[PhasedLoader]] = {
    "DaliLoader": DaliLoader,
    "DaliReaderLoader": DaliReaderLoader,
    "TorchLoader": TorchLoader,
    "ResidentLoader": ResidentLoader,
    "PhasedLoader": PhasedLoader,
}
