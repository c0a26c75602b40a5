"""Knobs: which class attributes can be given by keyword, and how a handler class gets them. Refuses to know any."""
from functools import partial
from types import FunctionType
from typing import Any


def is_knob(owner: Any, name: str) -> bool:
    """Whether `name` is a public class attribute of `owner` that holds a value, not a method or a property."""
    if name.startswith("_"):
        return False
    for each in getattr(owner, "__mro__", ()):
        if name in vars(each):
            return not isinstance(vars(each)[name], (FunctionType, classmethod, property))
    return False


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def handler_class(handler: Any) -> Any:
    """What a handler is made by, behind any functools.partial."""
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def with_attributes(handler: Any, values: dict[str, Any]) -> Any:
    """A subclass of the handler class that has these attributes; of a functools.partial, one that makes it."""
    if isinstance(handler, partial):
        return partial(with_attributes(handler.func, values), *handler.args, **handler.keywords)
    return type(handler.__name__, (handler,), values | {"__module__": handler.__module__})
