"""What who comes from another library looks for in vain: each such name says what to write here.

Refuses to know whose names they are.
"""
from collections.abc import Mapping
from typing import Any


class Elsewhere:
    """Stands for an attribute that there is not. It can be set all the same.

    `__getattr__` would do as well, but before Python 3.12 it makes all attributes take several times as long to find.
    """

    def __init__(self, of: type, name: str, instead: str) -> None:
        self._of, self._name, self._instead = of, name, instead

    def __get__(self, instance: object, owner: type) -> Any:
        order = owner.__mro__
        if any(self._name in vars(each) for each in order[order.index(self._of) + 1:]):  # a class behind has it
            return getattr(super(self._of, owner if instance is None else instance), self._name)
        raise AttributeError(f"{owner.__name__} has no attribute {self._name!r}: {self._instead}")


def point_elsewhere(owner: type, hints: Mapping[str, str]) -> None:
    """Has the class say what to write in place of each of these names: AttributeError, as for any that it has not."""
    for name, instead in hints.items():
        setattr(owner, name, Elsewhere(owner, name, instead))
