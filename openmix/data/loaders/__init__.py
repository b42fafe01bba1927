"""From a data set to batches. ``LOADERS`` holds the loaders that a config may name."""

from openmix.data.loaders.phased import PhasedLoader
from openmix.data.loaders.protocol import BaseLoader, Loader
from openmix.data.loaders.resident import ResidentLoader
from openmix.data.loaders.torch_loader import TorchLoader

__all__ = ["LOADERS", "BaseLoader", "Loader", "PhasedLoader", "ResidentLoader", "TorchLoader"]

LOADERS: dict[str, type[TorchLoader] | type[ResidentLoader] | type[PhasedLoader]] = {
    "TorchLoader": TorchLoader,
    "ResidentLoader": ResidentLoader,
    "PhasedLoader": PhasedLoader,
}
