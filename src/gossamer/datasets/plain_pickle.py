"""Read the plain data in a pickle without unpickling: nothing that the file names is imported or called.

For data sets that exist in no other form. A pickle is a program for a stack machine; this is another machine
for it, which knows lists, dicts, tuples, strings, numbers and arrays of bytes, and refuses every other thing.
Python's own `pickle` would import and call what the file says.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from gossamer.errors import FormatError

_MARK = object()
_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_KNOWN_NAMES = (*_RECONSTRUCT, "numpy ndarray", "numpy dtype")


class _Name(str):
    """A name of something in a Python module, as text and no more."""

    __slots__ = ()


class _Call:
    """What a name was to be called with; of arrays, also their state."""

    def __init__(self, name: _Name, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments, self.state = name, arguments, None


def read_plain_pickle(data: bytes, *, name: str) -> Any:
    """Return the lists, dicts, tuples, strings, numbers and arrays of uint8 of a pickle of protocol 2.

    Keys of dicts are strings. Strings of Python 2 become str, each byte one character. An array is returned as
    `numpy.ndarray`, read-only.

    Parameters
    ----------
    data : bytes
        The whole file.
    name : str
        What an error calls it.

    Raises
    ------
    FormatError
        If the data are damaged, or hold anything else.
    """
    machine = _Machine(name)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return _plain(machine.result, name, {})
    except FormatError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{name}: expected a pickle of plain data; it is damaged ({error})") from error


class _Machine:
    """The stack, the memo, and the few instructions that plain data need."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._stack: list[Any] = []
        self._marks: list[int] = []  # where on the stack
        self._memo: dict[int, Any] = {}
        self._made = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK, "EMPTY_TUPLE": ()}
        self._steps: dict[str, Callable[[Any], None]] = {
            "APPEND": lambda _: self._append([self._stack.pop()]),
            "APPENDS": lambda _: self._append(self._since_mark()),
            "SETITEM": lambda _: self._set_items([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda _: self._set_items(self._since_mark()),
            "TUPLE": lambda _: self._stack.append(tuple(self._since_mark())),
            "REDUCE": lambda _: self._reduce(),
            "BUILD": lambda _: self._build(),
            "GLOBAL": self._global,
        }

    @property
    def result(self) -> Any:
        """What the pickle is of."""
        (result,) = self._stack
        return result

    def step(self, opcode: str, argument: Any) -> None:
        """Do one instruction."""
        if opcode in ("PROTO", "STOP"):
            return
        if opcode in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self._stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET", "GET"):
            self._stack.append(self._memo[argument])
        elif opcode in ("BININT", "BININT1", "BININT2", "INT", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE"):
            self._stack.append(argument)
        elif opcode in ("EMPTY_LIST", "EMPTY_DICT"):
            self._stack.append([] if opcode == "EMPTY_LIST" else {})
        elif opcode in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(opcode[-1])
            self._stack[-n:] = [tuple(self._stack[-n:])]
        elif opcode in self._made:
            if opcode == "MARK":
                self._marks.append(len(self._stack))
            self._stack.append(self._made[opcode])
        elif opcode in self._steps:
            self._steps[opcode](argument)
        else:
            raise FormatError(f"{self._name}: expected a pickle of plain data; it holds the instruction {opcode}")

    def _since_mark(self) -> list[Any]:
        at = self._marks.pop()
        if self._stack[at] is not _MARK:
            raise ValueError("a mark has been taken off the stack")
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _append(self, items: list[Any]) -> None:
        _expect(self._stack[-1], list).extend(items)

    def _set_items(self, items: list[Any]) -> None:
        for key in items[::2]:  # of tuples in tuples, a hash takes twice as long for each that is around the others
            _expect(key, str)
        _expect(self._stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))

    def _global(self, name: str) -> None:
        if name not in _KNOWN_NAMES:
            raise FormatError(f"{self._name}: expected a pickle of plain data; it names {name.replace(' ', '.')}")
        self._stack.append(_Name(name))

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        self._stack[-1] = _Call(_expect(self._stack[-1], _Name), _expect(arguments, tuple))

    def _build(self) -> None:
        state = self._stack.pop()
        _expect(self._stack[-1], _Call).state = state


def _expect(thing: Any, kind: type) -> Any:
    if type(thing) is not kind:
        raise TypeError(f"{type(thing).__name__} in the place of a {kind.__name__}")
    return thing


def _plain(thing: Any, name: str, done: dict[int, Any]) -> Any:
    """Return the thing with arrays in the place of the calls that would have made them, each thing once."""
    if id(thing) in done:  # one that stands in many places could else be copied without end
        return done[id(thing)]
    if isinstance(thing, _Name) or thing is _MARK:
        raise FormatError(f"{name}: expected a pickle of plain data; it holds a name or a mark as a value")
    if isinstance(thing, dict):
        plain: Any = {key: _plain(value, name, done) for key, value in thing.items()}
    elif isinstance(thing, list | tuple):
        plain = type(thing)(_plain(item, name, done) for item in thing)
    else:
        plain = _array(thing, name) if isinstance(thing, _Call) else thing
    done[id(thing)] = plain
    return plain


def _array(call: _Call, name: str) -> Any:
    """Return the array of bytes whose making a call describes: its state is version, shape, dtype, order, bytes."""
    _, shape, dtype, is_fortran, data = _expect(call.state, tuple)
    dtype_call = _expect(dtype, _Call)
    if call.name not in _RECONSTRUCT or dtype_call.arguments[:1] not in (("u1",), ("|u1",)) or is_fortran:
        raise FormatError(f"{name}: expected arrays of unsigned bytes, row after row; it holds another")
    array = np.frombuffer(_expect(data, str).encode("latin-1"), np.uint8)
    return array.reshape(_expect(shape, tuple))
