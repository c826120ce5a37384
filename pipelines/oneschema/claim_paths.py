r"""Paths of claims: one grammar for settings, meta_claims and funnel(by).

A path is the keys from the top, joined by dots. A dot or a backslash within a key has a backslash before it. So the
claim `https://acme.example/email` has the path `https://acme\.example/email`, and `org.plan` is the key `plan` of the
object `org`. A backslash before any other character is an ordinary character. Elements of arrays have the path of their
array.

In a setting, a dot within a key may be written without the backslash. It then matches a dot between keys as well as one
within a key. In a pattern, `*`, `?` and `[...]` stand for any characters, dots included; `[*]` is a star.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import cache
from itertools import product

from pipelines.oneschema.json_text import Json

_ESCAPED = re.compile(r"\\([.\\])")
_LEVEL = re.compile(r"(?:^|\.)((?:\\[.\\]|[^.])*+)")
_CHARACTER = re.compile(r"\\[.\\]|.", re.DOTALL)
_PIECE = re.compile(rf"\[!?+\]?+[^\]]*\]|{_CHARACTER.pattern}", re.DOTALL)

# Each plain dot of a setting can be read in two ways.
MOST_PLAIN_DOTS = 6

# One character of a key, or a dot between keys, in a path.
_ANY = r"(?:[^\\]|\\[.\\])"
_DOT = r"\\?\."
_BACKSLASH = r"\\\\"


def escape(key: str) -> str:
    r"""The path of a key at the top.

    >>> print(escape("acme.example"))
    acme\.example
    """
    return key.replace("\\", "\\\\").replace(".", "\\.")


def join(keys: Iterable[str]) -> str:
    """The path of keys from the top."""
    return ".".join(map(escape, keys))


def split(path: str) -> list[str]:
    r"""The keys of a path.

    >>> split(r"org.acme\.example")
    ['org', 'acme.example']
    """
    return [_ESCAPED.sub(r"\1", level) for level in _LEVEL.findall(path)]


def upward(path: str) -> list[str]:
    """The path and those of the objects that hold it, from the top.

    >>> upward("org.plan.name")
    ['org', 'org.plan', 'org.plan.name']
    """
    keys = split(path)
    return [join(keys[:count]) for count in range(1, len(keys) + 1)]


def walk(payload: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    """Every path of a payload with its value, in the order of the text. An object comes before what is in it."""
    levels: list[tuple[str, Iterator[tuple[str, Json]]]] = [("", iter(payload.items()))]
    while levels:
        prefix, items = levels[-1]
        for key, value in items:
            # Hardly any key has one of them, and a call costs more than to look.
            path = prefix + (escape(key) if "." in key or "\\" in key else key)
            yield path, value
            if isinstance(value, dict):
                levels.append((f"{path}.", iter(value.items())))
                break
        else:
            levels.pop()


@cache
def naming(text: str) -> re.Pattern[str]:
    r"""An expression whose `fullmatch` says whether a path is the one that a setting names. It has no wildcards.

    >>> bool(naming("acme.example").fullmatch(r"acme\.example"))
    True
    """
    return re.compile("".join(map(_character, _CHARACTER.findall(text))))


@cache
def pattern(text: str) -> re.Pattern[str]:
    r"""An expression whose `fullmatch` says whether a pattern fits a path. It takes time linear in the path's length.

    >>> bool(pattern(r"*acme\.example").fullmatch(r"org.acme\.example"))
    True
    """
    # Between two stars, the first place that fits is as good as any, so there is no backtracking into it.
    parts = [""]
    for piece in _PIECE.findall(text):
        if piece == "*":
            parts.append("")
        else:
            parts[-1] += _piece(piece)
    first, *middle = parts
    last = middle.pop() if middle else None
    expression = first + "".join(f"(?>{_ANY}*?{part})" for part in middle)
    return re.compile(expression if last is None else f"{expression}{_ANY}*{last}")


def readings(text: str) -> list[list[str]]:
    r"""The keys of every path that a setting names, the path as it is written first, then by code point.

    Raises ValueError for a text with more plain dots than MOST_PLAIN_DOTS.

    >>> readings("org.name")
    [['org', 'name'], ['org.name']]
    """
    parts = [r"\\" if character == "\\" else character for character in _CHARACTER.findall(text)]
    dots = parts.count(".")
    if dots > MOST_PLAIN_DOTS:
        raise ValueError(
            rf"has more than {MOST_PLAIN_DOTS} dots; write a backslash before each dot within a key (`acme\.example`)."
        )
    written, *others = (_written(parts, chosen) for chosen in product((".", r"\."), repeat=dots))
    return [split(path) for path in (written, *sorted(others))]


def _written(parts: list[str], dots: tuple[str, ...]) -> str:
    chosen = iter(dots)
    return "".join(next(chosen) if part == "." else part for part in parts)


def pointer(keys: Iterable[str]) -> str:
    """The JSON pointer (RFC 6901) of a path's value.

    >>> pointer(["org", "a/b"])
    '/org/a~1b'
    """
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def _piece(piece: str) -> str:
    """The expression of a piece of a pattern without stars."""
    if piece == "?":
        return _ANY
    return _set(piece) if piece.startswith("[") and len(piece) > 1 else _character(piece)


def _character(character: str) -> str:
    """The expression of a character that stands for itself, escaped or not."""
    if character in ("\\", r"\\"):
        return _BACKSLASH
    return _DOT if character == "." else r"\\\." if character == r"\." else re.escape(character)


def _set(piece: str) -> str:
    """The expression of a set of characters, as the shell writes one."""
    # [:-2] removes the end-of-text anchor that the standard library adds.
    held = translate(piece)[:-2]
    found = [rf"(?![.\\]){held}"]
    found += [expression for character, expression in ((".", _DOT), ("\\", _BACKSLASH)) if re.match(held, character)]
    return f"(?:{'|'.join(found)})"
