"""Nuke's expressions: C's operators, ``**`` and ``^`` as powers, functions, dotted names, Tcl between brackets.

A parsed expression is a function of a scope. Numbers may be plain or arrays: an Expression node works on pictures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Protocol

from nk import tcl

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*(?:\.\w+)*)"
    r"|(?P<sign>\*\*|\|\||&&|[=!<>]=|[-+*/%^<>!?:(),]))"
)
LEVELS = (("||",), ("&&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
"""Operators of two sides, the weakest first."""


class ExpressionError(ValueError):
    """An expression that cannot be read, or a name in it that nothing has."""


class Scope(Protocol):
    """What an expression is evaluated in."""

    def name(self, dotted: str) -> Any:
        """Value of a name such as ``frame``, ``r``, ``parent.size.w``."""

    def name_at(self, dotted: str, frame: float) -> Any:
        """Value of a knob at another frame: ``parent.size(frame - 1)``."""

    def command(self, words: list[str]) -> str:
        """Result of a Tcl command between brackets."""


Formula = Callable[[Scope], Any]


def _choose(condition: Any, yes: Any, no: Any) -> Any:
    if hasattr(condition, "shape"):
        import numpy as np

        return np.where(condition != 0, yes, no)
    return yes if condition else no


def _each(plain: Callable[..., float], array: str) -> Callable[..., Any]:
    """A function of numbers that takes arrays too, by the numpy function of a name."""

    def apply(*values: Any) -> Any:
        if any(hasattr(value, "shape") for value in values):
            import numpy as np

            return getattr(np, array)(*values)
        return plain(*values)

    return apply


def _folded(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def apply(first: Any, *rest: Any) -> Any:
        for value in rest:
            first = function(first, value)
        return first

    return apply


MINIMUM = _folded(_each(min, "minimum"))
MAXIMUM = _folded(_each(max, "maximum"))


def _clamp(value: Any, low: Any = 0.0, high: Any = 1.0) -> Any:
    return MINIMUM(MAXIMUM(value, low), high)


def _smoothstep(low: Any, high: Any, value: Any) -> Any:
    at = _clamp((value - low) / (high - low))
    return at * at * (3 - 2 * at)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": _each(abs, "abs"),
    "fabs": _each(abs, "abs"),
    "min": MINIMUM,
    "max": MAXIMUM,
    "clamp": _clamp,
    "floor": _each(math.floor, "floor"),
    "ceil": _each(math.ceil, "ceil"),
    "rint": _each(lambda v: float(math.floor(v + 0.5)), "rint"),
    "int": _each(math.trunc, "trunc"),
    "trunc": _each(math.trunc, "trunc"),
    "sqrt": _each(math.sqrt, "sqrt"),
    "pow": _each(math.pow, "power"),
    "exp": _each(math.exp, "exp"),
    "log": _each(math.log, "log"),
    "log10": _each(math.log10, "log10"),
    "sin": _each(math.sin, "sin"),
    "cos": _each(math.cos, "cos"),
    "tan": _each(math.tan, "tan"),
    "atan": _each(math.atan, "arctan"),
    "atan2": _each(math.atan2, "arctan2"),
    "hypot": _each(math.hypot, "hypot"),
    "fmod": _each(math.fmod, "fmod"),
    "lerp": lambda a, b, t: a + (b - a) * t,
    "mix": lambda a, b, t: a + (b - a) * t,
    "step": lambda edge, v: _choose(v >= edge, 1.0, 0.0),
    "smoothstep": _smoothstep,
    "radians": lambda v: v * math.pi / 180,
    "degrees": lambda v: v * 180 / math.pi,
}
"""Functions that are checked against Nuke's documentation; others are refused."""


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression; commands between brackets are run first, as Tcl does.

    Raises:
        ExpressionError: It cannot be read, or names something unknown.
    """
    try:
        plain = tcl.substituted(text, scope.command, lambda name: "0") if "[" in text else text
    except tcl.TclError as error:
        raise ExpressionError(f"{error} in {text!r}") from None
    return parse(plain)(scope)


def parse(text: str) -> Formula:
    """A formula from text without brackets.

    Raises:
        ExpressionError: It cannot be read.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str]] = []
        at, body = 0, text.rstrip()
        while at < len(body):
            match = TOKEN.match(body, at)
            if match is None:
                raise ExpressionError(f"{body[at : at + 10]!r} cannot stand in the expression {text!r}")
            self._tokens.append((str(match.lastgroup), match.group(str(match.lastgroup))))
            at = match.end()
        self._at = 0

    def whole(self) -> Formula:
        formula = self._ternary()
        if self._at < len(self._tokens):
            raise ExpressionError(f"{self._tokens[self._at][1]!r} is left over in the expression {self._text!r}")
        return formula

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> tuple[str, str]:
        if self._at >= len(self._tokens) or (wanted and self._peek() != wanted):
            raise ExpressionError(f"{wanted or 'a value'!r} is missing in the expression {self._text!r}")
        self._at += 1
        return self._tokens[self._at - 1]

    def _ternary(self) -> Formula:
        condition = self._level(0)
        if self._peek() != "?":
            return condition
        self._take()
        yes = self._ternary()
        self._take(":")
        no = self._ternary()
        return lambda scope: _choose(condition(scope), yes(scope), no(scope))

    def _level(self, level: int) -> Formula:
        if level == len(LEVELS):
            return self._power()
        left = self._level(level + 1)
        while self._peek() in LEVELS[level]:
            sign = self._take()[1]
            left = _joined(sign, left, self._level(level + 1))
        return left

    def _power(self) -> Formula:
        if self._peek() in ("-", "+", "!"):
            sign, operand = self._take()[1], self._power()
            if sign == "!":
                return lambda scope: _choose(operand(scope), 0.0, 1.0)
            return (lambda scope: -operand(scope)) if sign == "-" else operand
        base = self._operand()
        if self._peek() in ("**", "^"):
            self._take()
            exponent = self._power()
            return lambda scope: base(scope) ** exponent(scope)
        return base

    def _operand(self) -> Formula:
        kind, word = self._take()
        if kind == "number":
            number = float(word)
            return lambda scope: number
        if word == "(":
            inner = self._ternary()
            self._take(")")
            return inner
        if kind != "name":
            raise ExpressionError(f"{word!r} stands where a value should in the expression {self._text!r}")
        if self._peek() != "(":
            return lambda scope: scope.name(word)
        self._take()
        arguments = []
        while self._peek() != ")":
            arguments.append(self._ternary())
            if self._peek() != ")":
                self._take(",")
        self._take(")")
        function = FUNCTIONS.get(word)
        if function is not None:
            return lambda scope: function(*(argument(scope) for argument in arguments))
        if len(arguments) != 1:
            raise ExpressionError(f"there is no function {word} in the expression {self._text!r}")
        return lambda scope: scope.name_at(word, float(arguments[0](scope)))


def _joined(sign: str, left: Formula, right: Formula) -> Formula:
    def joined(scope: Scope) -> Any:
        a, b = left(scope), right(scope)
        if sign == "+":
            return a + b
        if sign == "-":
            return a - b
        if sign == "*":
            return a * b
        if sign == "/":
            return a / b if hasattr(b, "shape") or b else math.copysign(math.inf, a) if a else math.nan
        if sign == "%":
            return a - b * FUNCTIONS["trunc"](a / b)
        truth = {
            "||": lambda: (a != 0) | (b != 0),
            "&&": lambda: (a != 0) & (b != 0),
            "==": lambda: a == b,
            "!=": lambda: a != b,
            "<": lambda: a < b,
            "<=": lambda: a <= b,
            ">": lambda: a > b,
            ">=": lambda: a >= b,
        }[sign]()
        return _choose(truth, 1.0, 0.0)

    return joined
