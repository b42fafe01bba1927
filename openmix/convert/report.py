"""What became of every key of an old config."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from openmix.convert.spell import spell_short
from openmix.errors import UserError

__all__ = ["Entry", "Report", "Section", "Verdict"]

Verdict = Literal["kept", "renamed", "changed", "meaningless", "no equivalent", "refused"]


@dataclass(frozen=True)
class Entry:
    """One key's fate.

    Attributes:
        key: dotted, as the old config has it.
        verdict: 'kept' as it is; 'renamed', its meaning kept; 'changed', for a reason that the text gives;
            'meaningless' here; 'no equivalent', with what to do about it; 'refused', which ends the conversion.
        text: to what, or why.
    """

    key: str
    verdict: Verdict
    text: str


@dataclass
class Report:
    """The fates of all keys, in the order in which they were met."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, key: str, verdict: Verdict, text: str) -> None:
        """Note what became of a key."""
        self.entries.append(Entry(key, verdict, text))

    def of(self, verdict: Verdict) -> list[Entry]:
        """Return the entries of one verdict."""
        return [entry for entry in self.entries if entry.verdict == verdict]

    def lines(self) -> Iterator[str]:
        """Yield a line for each key, and one that counts them."""
        width = max((len(entry.key) for entry in self.entries), default=0)
        for entry in self.entries:
            yield f"{entry.verdict:<15}{entry.key:<{width}}  {entry.text}".rstrip()
        counts = Counter(entry.verdict for entry in self.entries)
        yield f"{len(self.entries)} keys: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


class Section:
    """A dict of an old config, out of which each key is taken with a verdict; what nobody takes has no equivalent.

    The methods named after verdicts return the value and report it, or return ``default`` where the key is not there.

    Args:
        values: the dict; None is an empty one.
        path: its own dotted key, '' for the whole config.
        report: where the verdicts go.

    Raises:
        UserError: it is no dict.
    """

    def __init__(self, values: Mapping[str, Any] | None, path: str, report: Report) -> None:
        _check(values, Mapping[str, Any] | None, path)
        self.values = dict(values or {})
        self.path = path
        self.report = report

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value without taking it."""
        return self.values.get(key, default)

    def read(self, key: str, kind: Any, default: Any = None) -> Any:
        """Return a value of a type without taking it.

        Args:
            key: its name.
            kind: the type, as an annotation; without None in it, None is as wrong as any other value.
            default: where the key is not there; of the type as well, or the key is required.

        Raises:
            UserError: it is of another type.
        """
        value = self.values.get(key, default)
        _check(value, kind, self.key(key))
        return value

    def key(self, key: str) -> str:
        """Return a key's dotted name."""
        return f"{self.path}.{key}" if self.path else key

    def section(self, key: str) -> "Section":
        """Take a dict out as a section of its own, empty where there is none."""
        return Section(self.values.pop(key, None), self.key(key), self.report)

    def kept(self, key: str, text: str = "", default: Any = None) -> Any:
        """Take what stays as it is, name and meaning."""
        return self._take(key, "kept", text or spell_short(self.get(key)), default)

    def renamed(self, key: str, to: str, default: Any = None) -> Any:
        """Take what is called ``to`` here."""
        return self._take(key, "renamed", f"-> {to}, {spell_short(self.get(key))}", default)

    def changed(self, key: str, why: str, default: Any = None) -> Any:
        """Take what is another here."""
        return self._take(key, "changed", why, default)

    def meaningless(self, key: str, why: str, default: Any = None) -> Any:
        """Take what nothing here needs to be told."""
        return self._take(key, "meaningless", why, default)

    def no_equivalent(self, key: str, advice: str, default: Any = None) -> Any:
        """Take what openmix lacks, and say what to do."""
        return self._take(key, "no equivalent", advice, default)

    def refused(self, key: str, why: str, default: Any = None) -> Any:
        """Take what cannot be converted: a config without it would be another's."""
        return self._take(key, "refused", why, default)

    def benign(self, values: Mapping[str, tuple[Any, str]], otherwise: Verdict = "no equivalent") -> None:
        """Take keys that say nothing at certain values.

        Args:
            values: by key, the value at which it says nothing, and why; for a tuple of values, any of them.
            otherwise: the verdict at another value.
        """
        for key, (harmless, why) in values.items():
            value = self.get(key)
            if value in harmless if isinstance(harmless, tuple) else value == harmless:
                self.meaningless(key, why)
            else:
                self._take(key, otherwise, f"{spell_short(value)}: openmix has no such switch", None)

    def close(self, advice: str = "nothing here reads it; left out") -> None:
        """Report what nobody has taken."""
        for key in list(self.values):
            self.no_equivalent(key, advice)

    def _take(self, key: str, verdict: Verdict, text: str, default: Any) -> Any:
        if key not in self.values:
            return default
        self.report.add(self.key(key), verdict, text)
        return self.values.pop(key)


def _check(value: Any, kind: Any, key: str) -> None:
    """Raise UserError unless a value is of a type."""
    try:
        check_type(value, kind, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError as error:
        text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
        text = text.replace("collections.abc.", "").replace("typing.", "").replace("Mapping[str, Any]", "dict")
        raise UserError(f"{key}: must be {text}, got {spell_short(value)}") from error
