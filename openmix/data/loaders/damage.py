"""Images that cannot be read: a neighbour takes the place of each, up to a limit."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from openmix.errors import DamagedImageError, UserError

__all__ = ["DamageLimit", "intact"]

T = TypeVar("T")

NEIGHBOURS = 10  # that are tried, in a row


def intact(read: Callable[[int], T], index: int, num_samples: int, damaged: list[DamagedImageError]) -> T:
    """Read the image ``index`` or, where it is damaged, the next one of the set that is not.

    The next one: so the same one in every process and on every resume, and in a set in the order of its classes most
    often one of the same class. After the last image comes the first.

    Args:
        read: reads an image by its index; raises DamagedImageError where it cannot.
        index: which.
        num_samples: images in the set.
        damaged: gets what is wrong with the image itself, if anything.

    Raises:
        UserError: the next ``NEIGHBOURS`` images are damaged as well.

    >>> def read(index):
    ...     if index in (2, 3):
    ...         raise DamagedImageError(f"{index}.jpg", "is empty")
    ...     return f"pixels of {index}"
    >>> errors = []
    >>> intact(read, 2, 5, errors), [error.name for error in errors]
    ('pixels of 4', ['2.jpg'])
    """
    found: list[DamagedImageError] = []
    for candidate in range(index, index + min(NEIGHBOURS + 1, num_samples)):
        try:
            result = read(candidate % num_samples)
        except DamagedImageError as error:
            found.append(error)
        else:
            damaged += found[:1]  # those on the way are counted when they are asked for themselves
            return result
    raise UserError(f"{len(found)} images in a row cannot be read; the first: {found[0]}")


class DamageLimit:
    """Counts the different images that a loader found damaged, and ends it all when there are too many.

    Args:
        limit: how many may be.

    Raises:
        UserError: a limit below 0.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise UserError(f"max_damaged must be at least 0, not {limit}")
        self.limit = limit
        self._names: set[str] = set()

    def check(self, damaged: Iterable[DamagedImageError]) -> None:
        """Take in a batch's damaged images.

        Raises:
            UserError: now there are more different ones than the limit.
        """
        for error in damaged:
            self._names.add(error.name)
            if len(self._names) > self.limit:
                raise UserError(
                    f"{error}; that makes {len(self._names)} damaged images, more than max_damaged={self.limit} of the "
                    "loader: mend the data set (openmix data verify lists them all), or raise the limit"
                )
