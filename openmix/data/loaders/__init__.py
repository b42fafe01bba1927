"""From a data set to batches. ``LOADERS`` holds the loaders that a config may name."""

from openmix.data.loaders.protocol import BaseLoader, Loader
from openmix.data.loaders.resident import ResidentLoader
from openmix.data.loaders.torch_loader import TorchLoader

__all__ = ["LOADERS", "BaseLoader", "Loader", "ResidentLoader", "TorchLoader"]

LOADERS: dict[str, type[TorchLoader] | type[ResidentLoader]] = {
    "TorchLoader": TorchLoader,
    "ResidentLoader": ResidentLoader,
}
