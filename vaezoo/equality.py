"""Equality by content: records of functions are equal if their functions do the same, whoever made them.

`vr_iwae(0.5)` called twice returns two closures. Python compares them by identity, but they have the same code and the
same captured values.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any, TypeVar

import torch

T = TypeVar("T")


def equal_by_content(record: type[T]) -> type[T]:
    """Make a frozen dataclass with a name equal to another of the same fields, by `same_content`; a class decorator."""

    def equal(self: Any, other: object) -> bool:
        return type(other) is type(self) and same_content(self, other)

    record.__eq__ = equal  # type: ignore[method-assign]
    record.__hash__ = lambda self: hash((type(self), self.name))  # type: ignore[method-assign, attr-defined]
    return record


def same_content(a: Any, b: Any, compared: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Return whether two values have the same content.

    Functions are the same if their code, defaults, captured values and the global values that they name are the same.

    compared: pairs of identities under comparison, which end the recursion of functions that name themselves.
    """
    if a is b or (id(a), id(b)) in compared:
        return True
    a, b = (inspect.unwrap(value) if isinstance(value, FunctionType) else value for value in (a, b))
    if isinstance(a, float | int) and isinstance(b, float | int):
        return a == b
    if type(a) is not type(b) or isinstance(a, type):
        return False
    compared |= {(id(a), id(b))}
    if isinstance(a, FunctionType):
        return a.__code__ == b.__code__ and same_content(_captured(a), _captured(b), compared)
    if isinstance(a, functools.partial):
        return same_content((a.func, a.args, a.keywords), (b.func, b.args, b.keywords), compared)
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return all(same_content(getattr(a, name), getattr(b, name), compared) for name in names)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same_content(x, y, compared) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_content(a[key], b[key], compared) for key in a)
    return bool(a == b)


def _captured(function: FunctionType) -> list[Any]:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    names = sorted(set(_global_names(function.__code__)) & function.__globals__.keys())
    values = {name: function.__globals__[name] for name in names}
    return [function.__defaults__, function.__kwdefaults__, cells, values]


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
