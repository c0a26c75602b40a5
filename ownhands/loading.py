"""What MODULE:NAME means, as it is typed on a command line.

Refuses to know what it is for.
"""
from importlib import import_module
from typing import Any


class LoadError(ValueError):
    """What was named is not there; says so in one line."""


def load_object(module_name: str, name: str) -> Any:
    """What a module has under a dotted name.

    Raises LoadError where there is none, and whatever the module raises as it is imported.
    """
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks another
        raise LoadError(f"there is no module {error.name}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise LoadError(f"{module_name} has no {name}")
        found = getattr(found, part)
    return found
