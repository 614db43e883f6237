"""The part of Tcl that script files are written in: commands, words, quotes, braces, substitution, lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

SPACES = " \t\f\v\r"
BLANKS = SPACES + "\n"
NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
ESCAPE = re.compile(
    r"\\(?:\r?\n[ \t]*|x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|U[0-9A-Fa-f]{1,8}|[0-7]{1,3}|[\s\S])", re.ASCII
)
BRACES = re.compile(r"\\[\s\S]|[{}]")
VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|(\w+))", re.ASCII)

Run = Callable[[list], str]
"""Runs one command, given as its words, and returns its result."""
Read = Callable[[str], str]
"""Value of a variable; raises TclError where there is none."""


class TclError(ValueError):
    """Text that is not Tcl; ``at`` is where in the text it shows."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.at = at


def commands(text: str, run: Run, read: Read) -> Iterator[tuple[int, list[str]]]:
    """The commands of a text, each with the offset where it begins and its words, substituted.

    Raises:
        TclError: A brace, quote or bracket is not closed, or something stands right behind one.
    """
    at = 0
    while True:
        start, words, at = _command(text, at, "", run, read)
        if words:
            yield start, words
        if at >= len(text):
            return


def split(text: str) -> list[str]:
    """The elements of a Tcl list.

    Raises:
        TclError: A brace or quote is not closed, or something stands right behind one.
    """
    return [word for word, _ in pieces(text)]


def pieces(text: str) -> list[tuple[str, bool]]:
    """The elements of a Tcl list, each with whether braces or quotes stood around it.

    Raises:
        TclError: As ``split``.
    """
    found: list[tuple[str, bool]] = []
    at = 0
    while True:
        while at < len(text) and text[at] in BLANKS:
            at += 1
        if at >= len(text):
            return found
        if text[at] not in '{"':
            end = _bare(text, at, BLANKS)
            found.append((unescaped(text[at:end]), False))
            at = end
            continue
        if text[at] == "{":
            end = _brace(text, at)
            found.append((_joined(text[at + 1 : end]), True))
        else:
            end = _bare(text, at + 1, '"')
            if end >= len(text):
                raise TclError("unmatched open quote in list", at)
            found.append((unescaped(text[at + 1 : end]), True))
        at = end + 1
        if at < len(text) and text[at] not in BLANKS:
            raise TclError(f"list element followed by {text[at : at + 10]!r} instead of space", at)


def _bare(text: str, at: int, ends: str) -> int:
    """Offset of the first of some characters from ``at`` on that no backslash stands before."""
    match = re.compile(rf"(?:{ESCAPE.pattern}|\\\Z|[^\\{ends}])*", re.ASCII).match(text, at)
    return match.end() if match else at


def unescaped(text: str) -> str:
    """Text with its backslash sequences replaced by what they stand for."""
    return ESCAPE.sub(_escape, text)


def substituted(text: str, run: Run, read: Read) -> str:
    """Text with backslashes, ``$variables`` and ``[commands]`` replaced, as Tcl's ``subst`` does."""
    return _substitute(text, 0, lambda at: at >= len(text), run, read)[0]


def _escape(match: re.Match[str]) -> str:
    body = match.group()[1:]
    if body[0] in "\r\n":
        return " "
    if body[0] in "xuU" and len(body) > 1:
        return chr(int(body[1:], 16))
    if body[0] in "01234567":
        return chr(int(body, 8) & 0xFF)
    return NAMED.get(body, body)


def _joined(braced: str) -> str:
    """What stands in braces is left as it is, but for lines that a backslash goes on with."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n[ \t]*", r"\1 ", braced)


def _brace(text: str, at: int) -> int:
    """Offset of the brace that closes the one at ``at``."""
    depth = 0
    for match in BRACES.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if not depth:
            return match.start()
    raise TclError("missing close-brace", at)


def _command(text: str, at: int, closing: str, run: Run, read: Read) -> tuple[int, list[str], int]:
    """One command from ``at``: where it begins, its words, and the offset behind its end."""
    while at < len(text) and (text[at] in SPACES + "\n;" or text.startswith("\\\n", at)):
        at += 2 if text[at] == "\\" else 1
    if at < len(text) and text[at] == "#":
        while at < len(text) and text[at] != "\n":
            at += 2 if text[at] == "\\" else 1
        return at, [], at
    start, words = at, []
    while at < len(text):
        here = text[at]
        if here in SPACES:
            at += 1
        elif text.startswith("\\\n", at) or text.startswith("\\\r\n", at):
            at += 2
        elif here in "\n;":
            return start, words, at + 1
        elif closing and here == closing:
            return start, words, at
        else:
            word, at = _word(text, at, closing, run, read)
            words.append(word)
    if closing:
        raise TclError("missing close-bracket", start)
    return start, words, at


def _word(text: str, at: int, closing: str, run: Run, read: Read) -> tuple[str, int]:
    ends = SPACES + "\n;" + closing
    if text[at] == "{":
        end = _brace(text, at)
        word, after = _joined(text[at + 1 : end]), end + 1
    elif text[at] == '"':
        word, after = _substitute(text, at + 1, lambda here: text[here] == '"', run, read)
        after += 1
    else:
        return _substitute(text, at, lambda here: here >= len(text) or text[here] in ends, run, read)
    if after < len(text) and text[after] not in ends and not text.startswith("\\\n", after):
        raise TclError(f"extra characters after close-{'brace' if text[at] == '{' else 'quote'}", after)
    return word, after


def _substitute(text: str, at: int, ends: Callable[[int], bool], run: Run, read: Read) -> tuple[str, int]:
    """Text from ``at`` to where ``ends`` says, substituted, and the offset of that end."""
    begin, parts = at, []
    while True:
        try:
            if ends(at):
                return "".join(parts), at
            here = text[at]
        except IndexError:
            raise TclError('missing "', begin - 1) from None
        variable = VARIABLE.match(text, at)
        if here == "\\" and at + 1 < len(text):
            match = ESCAPE.match(text, at)
            assert match is not None
            if match.group()[1] == "\n" and ends(at + 1):
                return "".join(parts), at
            parts.append(_escape(match))
            at = match.end()
        elif here == "[":
            result, at = "", at + 1
            while at >= len(text) or text[at] != "]":
                _, words, at = _command(text, at, "]", run, read)
                result = run(words) if words else result
                if at >= len(text):
                    raise TclError("missing close-bracket", begin)
            parts.append(result)
            at += 1
        elif variable:
            parts.append(read(variable.group(1) or variable.group(2)))
            at = variable.end()
        else:
            parts.append(here)
            at += 1
