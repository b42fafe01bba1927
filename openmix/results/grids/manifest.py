"""``manifest.json``: which runs a study has, and where each lies."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openmix.errors import UserError

__all__ = ["MANIFEST", "Entry", "Manifest"]

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """One run of a study.

    Attributes:
        name: the stem of its config, unique in the study.
        config: the config file, relative to the study's folder, with slashes.
        work_dir: where its results go, relative to the study's folder, with slashes.
        settings: what sets it apart, by the name of the axis: ``{"mix_mode": "cutmix", "alpha": 0.2, "seed": 0}``.
        config_hash: 16 hex digits of its resolved config, as in ``run.json``.
    """

    name: str
    config: str
    work_dir: str
    settings: Mapping[str, Any]
    config_hash: str


@dataclass(frozen=True)
class Manifest:
    """A study's list of runs.

    Attributes:
        folder: the study's folder.
        base: the config that the runs inherit, relative to the folder.
        entries: the runs, in the order in which they are to be run.
    """

    folder: Path
    base: str
    entries: tuple[Entry, ...]

    def text(self) -> str:
        """Return what the file holds: the same for the same study, however often it is made."""
        content = {"schema": SCHEMA, "base": self.base, "entries": [asdict(entry) for entry in self.entries]}
        return json.dumps(content, indent=1) + "\n"

    def config(self, entry: Entry) -> Path:
        """Return where an entry's config lies."""
        return self.folder / entry.config

    def work_dir(self, entry: Entry) -> Path:
        """Return where an entry's results go."""
        return self.folder / entry.work_dir

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read the manifest of a study's folder.

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = folder / MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or not isinstance(content.get("entries"), list):
                raise ValueError("it lists no runs")
            if content["schema"] != SCHEMA:
                raise UserError(f"{path} has schema {content['schema']!r}, and this openmix reads {SCHEMA}")
            entries = tuple(Entry(**entry) for entry in content["entries"])
            wrong = [e for e in entries if not all(isinstance(getattr(e, k), str) for k in NAMES)]
            if wrong or len({entry.name for entry in entries}) < len(entries):
                raise ValueError("entries without a name of their own")
            return cls(folder, str(content["base"]), entries)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"no study in {folder}: it has no {MANIFEST}; 'openmix grid make' writes one") from None
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path} is damaged: {error}; 'openmix grid make' writes it anew") from error


NAMES = ("name", "config", "work_dir", "config_hash")
