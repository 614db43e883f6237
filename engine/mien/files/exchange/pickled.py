"""Reads what a pickle says without doing what it asks.

Python's own reader runs whatever a file names. Here the opcodes are interpreted one by one, and all that can
come of it are None, bool, int, float, str, bytes, list, tuple, dict and numeric numpy arrays, which are put
together by hand from their bytes. Whatever else a file asks for ends the reading.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_ARRAY = 1 << 28
DEEPEST = 64

PLAIN = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NAMES = {
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "__builtin__ bytes": "bytes",
    "builtins bytes": "bytes",
    "__builtin__ bytearray": "bytes",
    "builtins bytearray": "bytes",
    **{f"numpy.{core}.multiarray _reconstruct": "reconstruct" for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": "scalar" for core in ("core", "_core")},
    **{f"numpy.{core}.numeric _frombuffer": "frombuffer" for core in ("core", "_core")},
}
NUMBERS = {f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)} - {"f1"} | {"b1"}


class PickleRefused(ValueError):
    """The bytes are no pickle, or ask for more than plain values."""


def read_pickle(content: bytes) -> Any:
    """The plain value that a pickle describes; bytes and texts that Python 2 did not tell apart come as text.

    Raises:
        PickleRefused: The bytes are no whole pickle, or name anything that is not a plain value.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return _resolve(stack.pop(), {}, 0)
            _step(opcode.name, argument, stack, memo)
    except PickleRefused:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise PickleRefused(f"it is damaged ({str(error)[:80]})") from error
    raise PickleRefused("it ends early")


class _Mark:
    """Where a list of arguments began on the stack."""


@dataclass(frozen=True)
class _Name:
    """Something importable that the file named; never imported."""

    meaning: str


@dataclass
class _Number:
    """A numpy number type that is being described."""

    code: str
    order: str = "|"


@dataclass
class _Array:
    """A numpy array that is being described; the shape is None until it has been."""

    number: _Number | None = None
    shape: tuple[int, ...] | None = None
    fortran: bool = False
    content: bytes = b""


def _step(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in ("PROTO", "FRAME"):
        return
    if name in PLAIN:
        stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name == "MARK":
        stack.append(_Mark())
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "GLOBAL":
        stack.append(_named(argument))
    elif name in ACTIONS:
        ACTIONS[name](stack)
    else:
        raise PickleRefused(f"it asks for {name}, which plain values do not need")


def _named(text: str) -> _Name:
    if text not in NAMES:
        raise PickleRefused(f"it asks for {text[:80]!r}, which may run code")
    return _Name(NAMES[text])


def _stack_global(stack: list[Any]) -> None:
    name, module = stack.pop(), stack.pop()
    stack.append(_named(f"{module} {name}"))


def _marked(stack: list[Any]) -> list[Any]:
    """Take everything above the last mark, and the mark, off the stack."""
    values = []
    while not isinstance(value := stack.pop(), _Mark):
        values.append(value)
    return values[::-1]


def _pairs(values: list[Any]) -> dict[Any, Any]:
    if len(values) % 2 or any(not isinstance(key, str | int | float | bytes) for key in values[::2]):
        raise PickleRefused("it has a dictionary whose keys are not plain")
    return dict(zip(values[::2], values[1::2]))


def _extend(stack: list[Any], values: list[Any]) -> None:
    target = stack[-1]
    if not isinstance(target, list):
        raise PickleRefused("it appends to what is no list")
    target.extend(values)


def _update(stack: list[Any], values: list[Any]) -> None:
    target = stack[-1]
    if not isinstance(target, dict):
        raise PickleRefused("it sets entries of what is no dictionary")
    target.update(_pairs(values))


def _take(stack: list[Any], count: int) -> list[Any]:
    if len(stack) < count or any(isinstance(value, _Mark) for value in stack[len(stack) - count :]):
        raise PickleRefused("it is damaged (values are missing)")
    return [stack.pop() for _ in range(count)][::-1]


def _reduce(stack: list[Any]) -> None:
    function, arguments = _take(stack, 2)
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise PickleRefused("it calls something")
    match function.meaning, arguments:
        case "reconstruct", (_Name("ndarray"), tuple(), _):
            stack.append(_Array())
        case "dtype", (str(code), *_) if code in NUMBERS:
            stack.append(_Number(code))
        case "frombuffer", (bytes(content), _Number() as number, tuple(shape), str(order)):
            stack.append(_Array(number, _shape(shape), order == "F", content))
        case "scalar", (_Number() as number, bytes() | str() as content):
            stack.append(_Array(number, (), False, _bytes(content)))
        case "bytes", ():
            stack.append(b"")
        case "bytes", (bytes(content),):
            stack.append(content)
        case "encode", (str(text), "latin1" | "latin-1"):
            stack.append(text.encode("latin-1"))
        case _:
            raise PickleRefused(f"it calls {function.meaning} in a way that plain values do not need")


def _build(stack: list[Any]) -> None:
    target, state = _take(stack, 2)
    match target, state:
        case _Number(), (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            target.order = "<" if order == "=" else order
        case _Array(shape=None), (int(), tuple(shape), _Number() as number, fortran, bytes() | str() as raw):
            target.number, target.shape = number, _shape(shape)
            target.fortran, target.content = bool(fortran), _bytes(raw)
        case _:
            raise PickleRefused("it builds something that is not plain")
    stack.append(target)


def _bytes(content: bytes | str) -> bytes:
    return content.encode("latin-1") if isinstance(content, str) else content


def _shape(values: tuple[Any, ...]) -> tuple[int, ...]:
    sizes = [value for value in values if isinstance(value, int) and 0 <= value <= LARGEST_ARRAY]
    if len(values) > 8 or len(sizes) < len(values):
        raise PickleRefused("it has an array of no sensible shape")
    return values


def _array(described: _Array) -> NDArray[Any] | float | int:
    if described.number is None or described.shape is None:
        raise PickleRefused("it has an array without content")
    order = described.number.order
    number = np.dtype((order if order in "<>" else "|") + described.number.code)
    if math.prod(described.shape) * number.itemsize != len(described.content):
        raise PickleRefused("it has an array whose shape and content differ")
    flat = np.frombuffer(described.content, number).astype(number.newbyteorder("="))
    if described.shape == ():
        single: float | int = flat[0].item()
        return single
    return flat.reshape(described.shape, order="F" if described.fortran else "C")


def _resolve(value: Any, known: dict[int, Any], depth: int) -> Any:
    """The value with arrays put together; what was shared stays shared, what holds itself is refused."""
    if depth > DEEPEST:
        raise PickleRefused("it is nested too deep, or holds itself")
    if isinstance(value, _Mark | _Name | _Number):
        raise PickleRefused("it holds something that is not plain")
    if not isinstance(value, list | tuple | dict | _Array):
        return value
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, _Array):
        result: Any = _array(value)
    elif isinstance(value, dict):
        result = {key: _resolve(entry, known, depth + 1) for key, entry in value.items()}
    else:
        result = type(value)([_resolve(entry, known, depth + 1) for entry in value])
    known[id(value)] = result
    return result


ACTIONS: dict[str, Callable[[list[Any]], None]] = {
    "EMPTY_LIST": lambda stack: stack.append([]),
    "EMPTY_TUPLE": lambda stack: stack.append(()),
    "EMPTY_DICT": lambda stack: stack.append({}),
    "LIST": lambda stack: stack.append(_marked(stack)),
    "TUPLE": lambda stack: stack.append(tuple(_marked(stack))),
    "DICT": lambda stack: stack.append(_pairs(_marked(stack))),
    "TUPLE1": lambda stack: stack.append(tuple(_take(stack, 1))),
    "TUPLE2": lambda stack: stack.append(tuple(_take(stack, 2))),
    "TUPLE3": lambda stack: stack.append(tuple(_take(stack, 3))),
    "APPEND": lambda stack: _extend(stack, _take(stack, 1)),
    "APPENDS": lambda stack: _extend(stack, _marked(stack)),
    "SETITEM": lambda stack: _update(stack, _take(stack, 2)),
    "SETITEMS": lambda stack: _update(stack, _marked(stack)),
    "POP": lambda stack: stack.clear() if not stack else stack.__delitem__(-1),
    "POP_MARK": lambda stack: _marked(stack).clear(),
    "DUP": lambda stack: stack.append(stack[-1]),
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
