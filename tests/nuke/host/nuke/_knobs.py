"""Knobs: views on the text that a node holds, strict about what they take."""

from __future__ import annotations

import json
import math
from typing import Any

from nk import curves, tcl
from nk.check import Checker, elements
from nk.expression import ExpressionError
from nk.facts import BOOLEANS, EXACT, SINGLE, USER_KINDS, declared
from nk.facts import Knob as Known
from nk.script import Node as Data
from nk.script import Script
from nk.values import Values

from nuke._session import FACTS, run_code, session

CODES = {kind: code for code, (kind, _) in USER_KINDS.items()}
NUMERIC = SINGLE | EXACT | {"IArray_Knob"}
PLAIN = (int, float)


def _plain(value: Any) -> bool:
    """Whether a value is a number of Python's own: from Nuke 17.1 nothing else will do."""
    return type(value) in PLAIN and math.isfinite(value)


def _spelled(value: float) -> str:
    return repr(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


class Knob:
    """A knob of a node, or one that is not yet on any."""

    def __init__(self, name: str, label: str | None = None) -> None:
        session.on_main("Knob")
        if not isinstance(name, str) or not name:
            raise TypeError(f"a knob's name is text, not {name!r}")
        self._data: Data | None = None
        self._known = Known(name, type(self).__name__, USER_KINDS.get(CODES.get(type(self).__name__, 0), ("", 1))[1],
                            label=label, user=True)  # fmt: skip
        self._text: str | None = None
        self._enabled, self._visible, self._flags = True, True, 0
        self._tooltip = ""

    @classmethod
    def _of(cls, data: Data, known: Known) -> Knob:
        knob = cls.__new__(cls)
        knob._data, knob._known, knob._text = data, known, None
        knob._enabled, knob._visible, knob._flags, knob._tooltip = True, True, 0, known.tooltip
        return knob

    # What is stored.

    def _stored(self) -> str | None:
        return self._text if self._data is None else self._data.values.get(self._known.name)

    def _store(self, text: str) -> None:
        session.on_main(f"{self.Class()}.setValue")
        name = self._known.name
        if self._data is None:
            self._text = text
            return
        for other, value in self._known.when.items():
            if self._data.values.get(other) != value:
                raise NameError(f"knob {name} does not exist unless {other} is {value}")
        _set_line(self._data, name, text)
        session.change(f"{self._data.path}.{name}")
        from nuke._nodes import knob_changed

        knob_changed(self._data, self)

    def _values(self) -> Values:
        from nuke._nodes import format_of

        return Values(FACTS, format_of())

    def _number(self, frame: float, index: int) -> float:
        if self._data is None:
            return float(elements(self._known, self._text)[index]) if self._text else 0.0
        try:
            return self._values().number(self._data, self._known.name, frame, index)
        except ExpressionError as error:
            raise RuntimeError(str(error)) from None

    # Nuke's own names.

    def Class(self) -> str:
        return type(self).__name__

    def name(self) -> str:
        return self._known.name

    def fullyQualifiedName(self) -> str:
        return f"{self._data.path}.{self.name()}" if self._data else self.name()

    def label(self) -> str:
        return self._known.label if self._known.label is not None else self._known.name

    def node(self) -> Any:
        from nuke._nodes import wrapped

        return wrapped(self._data) if self._data else None

    def enabled(self) -> bool:
        return _state(self).get("enabled", True)

    def setEnabled(self, enabled: bool) -> None:
        session.on_main("Knob.setEnabled")
        _state(self)["enabled"] = bool(enabled)

    def visible(self) -> bool:
        return _state(self).get("visible", True)

    def setVisible(self, visible: bool) -> None:
        session.on_main("Knob.setVisible")
        _state(self)["visible"] = bool(visible)

    def tooltip(self) -> str:
        return self._tooltip

    def setTooltip(self, text: str) -> None:
        session.on_main("Knob.setTooltip")
        if not isinstance(text, str):
            raise TypeError("a tooltip is text")
        self._tooltip = text

    def setFlag(self, flag: int) -> None:
        session.on_main("Knob.setFlag")
        if type(flag) is not int:
            raise TypeError("a flag is a whole number")
        _state(self)["flags"] = _state(self).get("flags", 0) | flag

    def clearFlag(self, flag: int) -> None:
        _state(self)["flags"] = _state(self).get("flags", 0) & ~flag

    def getFlag(self, flag: int) -> bool:
        return bool(_state(self).get("flags", 0) & flag)

    def toScript(self, quote: bool = False, context: Any = None) -> str:
        text = self._stored()
        if text is None:
            text = _default_text(self._known)
        return quoted(text) if quote else text

    def fromScript(self, text: str) -> bool:
        """Set the whole knob from text, as a file has it behind the knob's name."""
        session.on_main("Knob.fromScript")
        if not isinstance(text, str):
            raise TypeError("fromScript takes text")
        values = text
        if self._known.kind in NUMERIC and text.lstrip().startswith("{curve") and self._known.count == 1:
            values = text.strip()
        self._check(values)
        self._store(values)
        return True

    def _check(self, text: str) -> None:
        holder = self._data or Data("NoOp", [], session.root)
        script = Script("")
        script.layers.update(session.layers)
        problems = list(Checker(script, FACTS)._value(holder, self._known, text))
        if problems:
            raise ValueError(f"{self.fullyQualifiedName()}: {problems[0]}")

    def value(self) -> Any:
        return self.toScript()

    def getValue(self, index: int = 0) -> Any:
        return self.value()

    def setValue(self, value: Any) -> bool:
        raise TypeError(f"{self.Class()} {self.name()} has no value that could be set to {value!r}")

    def hasExpression(self, index: int = -1) -> bool:
        text = self._stored()
        if text is None or self._known.kind not in NUMERIC | BOOLEANS | {"Enumeration_Knob"}:
            return False
        parts = elements(self._known, text) if self._known.kind in NUMERIC else [text]
        chosen = parts if index < 0 else [parts[index if len(parts) > 1 else 0]]
        return any(part.startswith("{") and tcl.split(part[1:-1])[:1] != ["curve"] for part in chosen)

    def isAnimated(self, index: int = -1) -> bool:
        return False

    def isKey(self, index: int = -1) -> bool:
        return False


_STATES: dict[tuple[int, str], dict[str, Any]] = {}


def _state(knob: Knob) -> dict[str, Any]:
    """How a knob is shown: of a node's knob it outlives the object that stands for it."""
    return _STATES.setdefault((id(knob._data) if knob._data else id(knob), knob.name()), {})


def _set_line(data: Data, name: str, text: str) -> None:
    for index in range(len(data.lines) - 1, -1, -1):
        if data.lines[index][0] == name:
            data.lines[index] = (name, text)
            return
    data.lines.append((name, text))


def _default_text(known: Known) -> str:
    default = known.default
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, (list, tuple)):
        return " ".join(_spelled(v) if _plain(v) else f"{{{' '.join(map(_spelled, v))}}}" for v in default)
    return "" if default is None else _spelled(default) if _plain(default) else str(default)


class Array_Knob(Knob):
    """Numbers, each of which may follow a curve or an expression."""

    def _parts(self) -> list[str]:
        text = self._stored()
        count = self._known.count
        if text is None:
            return [_spelled(self._number(session.frame, index)) for index in range(count)]
        parts = [text] if self._known.kind in BOOLEANS and text.startswith("{") else (
            elements(self._known, text) if self._known.kind in NUMERIC else [text]
        )  # fmt: skip
        return parts * count if len(parts) == 1 else parts

    def _write(self, parts: list[str]) -> None:
        if isinstance(self._known.size, (list, tuple)):
            rows, columns = self._known.size
            text = " ".join(f"{{{' '.join(parts[row * columns : (row + 1) * columns])}}}" for row in range(rows))
        else:
            same = len(parts) > 1 and len(set(parts)) == 1 and self._known.kind in SINGLE
            text = parts[0] if same else " ".join(parts)
        self._store(text)

    def value(self, index: int | None = None) -> Any:
        return self.valueAt(session.frame, index)

    getValue = value

    def valueAt(self, frame: float, index: int | None = None) -> Any:
        session.on_main(f"{self.Class()}.valueAt")
        count = self._known.count
        if index is not None:
            if not 0 <= index < count:
                raise IndexError(f"{self.name()} has {count} values")
            return self._number(frame, index)
        values = [self._number(frame, place) for place in range(count)]
        text = self._stored()
        single = count == 1 or (
            self._known.kind in SINGLE
            and (text is None or len(elements(self._known, text)) == 1)
            and len(set(values)) == 1
        )
        return values[0] if single else values

    getValueAt = valueAt

    def setValue(self, value: Any, index: int | None = None) -> bool:
        session.on_main(f"{self.Class()}.setValue")
        count = self._known.count
        if isinstance(value, (list, tuple)):
            if len(value) != count or not all(map(_plain, value)):
                raise TypeError(f"{self.name()} takes {count} finite numbers, not {value!r}")
            self._write([_spelled(v) for v in value])
            return True
        if not _plain(value):
            raise TypeError(f"{self.name()} takes finite numbers, not {value!r}")
        parts = self._parts()
        for place in range(count) if index is None else [index]:
            if parts[place].startswith("{curve"):
                self.setValueAt(value, session.frame, place)
                parts = self._parts()
            else:
                parts[place] = _spelled(value)
        self._write(parts)
        return True

    def setValueAt(self, value: float, frame: float, index: int = 0) -> bool:
        """Set a key on a curve; a knob without one is set as it is."""
        session.on_main(f"{self.Class()}.setValueAt")
        if not _plain(value) or not _plain(frame):
            raise TypeError(f"{self.name()} takes finite numbers, not {value!r} at {frame!r}")
        parts = self._parts()
        if not parts[index].startswith("{curve"):
            parts[index] = _spelled(value)
        else:
            keys = {key.frame: key.value for key in self._curve(parts[index])}
            keys[float(frame)] = float(value)
            parts[index] = _curve_text(keys)
        self._write(parts)
        return True

    @staticmethod
    def _curve(part: str) -> tuple[curves.Key, ...]:
        words = tcl.split(part[1:-1])[1:]
        return curves.parsed(words).keys if words else ()

    def setAnimated(self, index: int | None = None) -> bool:
        session.on_main(f"{self.Class()}.setAnimated")
        parts = self._parts()
        for place in range(len(parts)) if index is None else [index]:
            if not parts[place].startswith("{curve"):
                parts[place] = _curve_text({float(session.frame): self._number(session.frame, place)})
        self._write(parts)
        return True

    def clearAnimated(self, index: int | None = None) -> bool:
        session.on_main(f"{self.Class()}.clearAnimated")
        parts = self._parts()
        for place in range(len(parts)) if index is None else [index]:
            parts[place] = _spelled(self._number(session.frame, place))
        self._write(parts)
        return True

    def isAnimated(self, index: int = -1) -> bool:
        session.on_main(f"{self.Class()}.isAnimated")
        if self._stored() is None:
            return False
        parts = self._parts()
        return any(part.startswith("{curve") for part in (parts if index < 0 else [parts[index]]))

    def isKeyAt(self, frame: float, index: int = -1) -> bool:
        return any(
            part.startswith("{curve") and any(key.frame == frame for key in self._curve(part))
            for place, part in enumerate(self._parts())
            if index < 0 or place == index
        )

    def isKey(self, index: int = -1) -> bool:
        return self.isKeyAt(session.frame, index)

    def setExpression(self, expression: str, index: int = -1) -> bool:
        session.on_main(f"{self.Class()}.setExpression")
        parts = self._parts()
        for place in range(len(parts)) if index < 0 else [index]:
            parts[place] = f"{{{quoted(expression)}}}"
        self._check(" ".join(parts))
        self._write(parts)
        return True

    def arraySize(self) -> int:
        return self._known.count

    def animation(self, index: int) -> AnimationCurve | None:
        return AnimationCurve(self, index) if self.isAnimated(index) else None

    def animations(self) -> list[AnimationCurve]:
        return [AnimationCurve(self, index) for index in range(self._known.count) if self.isAnimated(index)]

    def getKeyList(self) -> list[float]:
        found = {key.frame for part in self._parts() if part.startswith("{curve") for key in self._curve(part)}
        return sorted(found)

    def setRange(self, low: float, high: float) -> None:
        session.on_main("Array_Knob.setRange")
        _state(self)["range"] = (float(low), float(high))


def _curve_text(keys: dict[float, float]) -> str:
    return f"{{curve {' '.join(f'x{_spelled(frame)} {_spelled(keys[frame])}' for frame in sorted(keys))}}}"


class AnimationKey:
    """A key of a curve."""

    def __init__(self, x: float, y: float) -> None:
        if not (_plain(x) and _plain(y)):
            raise TypeError("AnimationKey takes finite numbers")
        self.x, self.y = float(x), float(y)


class AnimationCurve:
    """The curve of one number of a knob."""

    def __init__(self, knob: Array_Knob, index: int) -> None:
        self._knob, self._index = knob, index

    def knob(self) -> Array_Knob:
        return self._knob

    def knobIndex(self) -> int:
        return self._index

    def keys(self) -> list[AnimationKey]:
        return [AnimationKey(key.frame, key.value) for key in self._knob._curve(self._knob._parts()[self._index])]

    def size(self) -> int:
        return len(self.keys())

    def evaluate(self, frame: float) -> float:
        return self._knob._number(frame, self._index)

    def addKey(self, keys: list[AnimationKey]) -> None:
        session.on_main("AnimationCurve.addKey")
        held = {key.x: key.y for key in self.keys()}
        held.update({key.x: key.y for key in keys})
        parts = self._knob._parts()
        parts[self._index] = _curve_text(held)
        self._knob._write(parts)

    def toScript(self, selected: bool = False) -> str:
        return self._knob._parts()[self._index]


class Boolean_Knob(Array_Knob):
    """A check box."""

    def value(self, index: int | None = None) -> bool:
        return bool(self._number(session.frame, 0))

    getValue = value

    def valueAt(self, frame: float, index: int | None = None) -> bool:
        return bool(self._number(frame, 0))

    getValueAt = valueAt

    def _number(self, frame: float, index: int) -> float:
        return float(self._text == "true") if self._data is None else super()._number(frame, index)

    def setValue(self, value: Any, index: int | None = None) -> bool:
        if type(value) not in (bool, int, float):
            raise TypeError(f"{self.name()} takes true or false, not {value!r}")
        self._store("true" if value else "false")
        return True


class Enumeration_Knob(Knob):
    """A menu."""

    def __init__(self, name: str, label: str | None = None, items: Any = ()) -> None:
        super().__init__(name, label)
        if not items or not all(isinstance(item, str) for item in items):
            raise TypeError(f"the menu {name} needs a list of texts")
        self._known = Known(name, "Enumeration_Knob", 1, items[0], tuple(items), label=label, user=True)

    def values(self) -> list[str]:
        return list(_menu(self))

    def numValues(self) -> int:
        return len(_menu(self))

    def enumName(self, index: int) -> str:
        return _menu(self)[index]

    def setValues(self, items: Any) -> None:
        """A menu's own items; kept in the declaration of a user knob, so that files have them."""
        session.on_main("Enumeration_Knob.setValues")
        if not all(isinstance(item, str) for item in items) or not items:
            raise TypeError("a menu needs a list of texts")
        if self._data is None or not self._known.user:
            raise RuntimeError(f"{self.name()}: only a menu that was added may be changed")
        shown = self.value()
        for index, (name, text) in enumerate(self._data.lines):
            if name == "addUserKnob" and declared(text).name == self.name():
                words = tcl.split(text)
                words[words.index("M") + 1] = " ".join(quoted(item) for item in items)
                self._data.lines[index] = (name, " ".join(quoted(word) for word in words))
                self._known = declared(self._data.lines[index][1])
        if shown not in items:
            self._store(items[0])

    def value(self) -> str:
        session.on_main("Enumeration_Knob.value")
        return self.valueAt(session.frame)

    def valueAt(self, frame: float) -> str:
        if self._data is None:
            return self._text or _menu(self)[0]
        return self._values().choice(self._data, self._known.name, frame)

    def getValue(self, index: int = 0) -> float:
        return self.getValueAt(session.frame)

    def getValueAt(self, frame: float, index: int = 0) -> float:
        return float(_menu(self).index(self.valueAt(frame)))

    def setValue(self, value: Any) -> bool:
        session.on_main("Enumeration_Knob.setValue")
        menu = _menu(self) if self._known.menu is not None else None
        if menu is None:
            if not isinstance(value, str):
                raise TypeError(f"{self.name()} takes text, not {value!r}")
            self._store(value)
            return True
        if type(value) is int and 0 <= value < len(menu):
            value = menu[value]
        if not isinstance(value, str) or value not in menu:
            raise ValueError(f"{self.fullyQualifiedName()}: {value!r} is not in the menu {list(menu)}")
        self._store(value)
        return True

    def setValueAt(self, value: Any, frame: float) -> bool:
        session.on_main("Enumeration_Knob.setValueAt")
        index = _menu(self).index(value) if isinstance(value, str) else int(value)
        text = self._stored() or ""
        keys = {}
        if text.startswith("{curve"):
            keys = {key.frame: key.value for key in Array_Knob._curve(text)}
        keys[float(frame)] = float(index)
        self._store(f"{{curve K {' '.join(f'x{_spelled(f)} {_spelled(keys[f])}' for f in sorted(keys))}}}")
        return True

    def isAnimated(self, index: int = -1) -> bool:
        return (self._stored() or "").startswith("{curve")


def _menu(knob: Knob) -> tuple[str, ...]:
    known = FACTS.knob(knob._data, knob.name()) if knob._data is not None else knob._known
    assert known is not None
    if known.menu is None:
        raise RuntimeError(f"the menu {knob.name()} depends on the machine")
    return known.menu


class String_Knob(Knob):
    """Text as it stands."""

    def value(self) -> str:
        session.on_main(f"{self.Class()}.value")
        return self.toScript()

    getValue = getText = value

    def setValue(self, value: Any) -> bool:
        if not isinstance(value, str):
            raise TypeError(f"{self.name()} takes text, not {value!r}")
        self._store(value)
        return True

    setText = setValue


class EvalString_Knob(String_Knob):
    """Text whose brackets are commands."""

    def evaluate(self, frame: float | None = None) -> str:
        session.on_main(f"{self.Class()}.evaluate")
        if self._data is None:
            return self.toScript()
        return self._values().text(self._data, self._known.name, session.frame if frame is None else frame)


class File_Knob(EvalString_Knob):
    """A path."""

    def fromUserText(self, text: str) -> None:
        self.setValue(text)


class Channel_Knob(Knob):
    """Layers or channels that exist."""

    def value(self) -> str:
        return self.toScript()

    getValue = value

    def setValue(self, value: Any) -> bool:
        if not isinstance(value, str):
            raise TypeError(f"{self.name()} takes the name of a layer, not {value!r}")
        self._check(value)
        self._store(value)
        return True


class Script_Knob(String_Knob):
    """A button that runs Tcl."""

    def __init__(self, name: str, label: str | None = None, command: str = "") -> None:
        super().__init__(name, label)
        self._command = command

    def command(self) -> str:
        return self._known.target or self.__dict__.get("_command", "")

    def setCommand(self, command: str) -> None:
        raise NotImplementedError("buttons keep the command that they were made with")

    def execute(self) -> None:
        session.on_main("Script_Knob.execute")
        if self.name() == "reload" and self._data is not None:
            _state(self)["reloads"] = _state(self).get("reloads", 0) + 1
            return
        raise NotImplementedError(f"the button {self.fullyQualifiedName()} runs what is only Nuke's")


class PyScript_Knob(Script_Knob):
    """A button that runs Python, with ``nuke.thisNode()`` and ``nuke.thisKnob()`` set."""

    def execute(self) -> None:
        session.on_main("PyScript_Knob.execute")
        session.this.append((self._data, self))
        try:
            run_code(self.command(), f"button {self.fullyQualifiedName()}")
        finally:
            session.this.pop()


class Link_Knob(Knob):
    """A knob that shows another; reading and writing goes through."""

    def setLink(self, target: str) -> None:
        self._known = Known(self.name(), "Link_Knob", target=target, label=self._known.label, user=True)

    def getLink(self) -> str:
        return self._known.target

    def getLinkedKnob(self) -> Knob | None:
        assert self._data is not None
        found = Values(FACTS).linked(self._data, self._known)
        return knob_of(found[0], found[1]) if found else None

    def _other(self) -> Any:
        other = self.getLinkedKnob()
        if other is None:
            raise RuntimeError(f"{self.fullyQualifiedName()} links to nothing")
        return other

    def value(self, *arguments: Any) -> Any:
        return self._other().value(*arguments)

    def setValue(self, *arguments: Any) -> bool:
        return bool(self._other().setValue(*arguments))

    def fromScript(self, text: str) -> bool:
        return bool(self._other().fromScript(text))


def _class(name: str, base: type, text: str) -> type:
    return type(name, (base,), {"__doc__": text, "__module__": "nuke"})


KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Array_Knob, Boolean_Knob, Enumeration_Knob, String_Knob, EvalString_Knob, File_Knob, Channel_Knob, Script_Knob,
        PyScript_Knob, Link_Knob,
    )
}  # fmt: skip
for _name in [
    "Double_Knob",
    "Int_Knob",
    "XY_Knob",
    "XYZ_Knob",
    "WH_Knob",
    "UV_Knob",
    "BBox_Knob",
    "Color_Knob",
    "AColor_Knob",
    "IArray_Knob",
    "Scale_Knob",
    "Box3_Knob",
]:
    KINDS[_name] = _class(_name, Array_Knob, "Numbers.")
for _name in ("Text_Knob", "Tab_Knob", "Transform2d_Knob", "Format_Knob", "ColorChip_Knob", "Font_Knob"):
    KINDS[_name] = _class(_name, String_Knob if _name != "Tab_Knob" else Knob, "Shown rather than set.")
KINDS["Disable_Knob"] = _class("Disable_Knob", Boolean_Knob, "Whether the node is passed over.")
KINDS["ChannelMask_Knob"] = _class("ChannelMask_Knob", Channel_Knob, "Channels that a node works on.")
KINDS["Multiline_Eval_String_Knob"] = _class("Multiline_Eval_String_Knob", EvalString_Knob, "Lines of text.")
KINDS["PythonKnob"] = _class("PythonKnob", String_Knob, "Code that a callback runs.")
KINDS["Pulldown_Knob"] = _class("Pulldown_Knob", Enumeration_Knob, "A menu of commands.")


def knob_of(data: Data, known: Known) -> Knob:
    """The object for a knob of a node, of the class that its kind asks for."""
    return KINDS.get(known.kind, String_Knob)._of(data, known)


def declaration(knob: Knob) -> str:
    """The ``addUserKnob`` words of a knob that Python made."""
    known = knob._known
    kind = knob.Class()
    if kind not in CODES:
        raise TypeError(f"{kind} cannot be added to a node")
    words = [str(CODES[kind]), known.name]
    for option, value in (
        ("l", known.label),
        ("t", knob._tooltip),
        ("T", known.target or getattr(knob, "_command", "")),
    ):
        if value:
            words += [option, quoted(value)]
    if known.menu:
        words += ["M", quoted(" ".join(quoted(item) for item in known.menu))]
    if _state(knob).get("flags"):
        words.append("+STARTLINE")
    return " ".join(words)


def quoted(text: str) -> str:
    """Text as one word of a Tcl list."""
    if text and not any(letter in text for letter in ' \t\n\r\f\v"{}[]$\\;#'):
        return text
    try:
        if tcl.split(f"{{{text}}}") == [text]:
            return f"{{{text}}}"
    except tcl.TclError:
        pass
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    for letter in "[]{}$":
        escaped = escaped.replace(letter, "\\" + letter)
    return f'"{escaped}"'
