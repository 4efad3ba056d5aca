"""How signs that no one can see are shown: ``visible``, for a text from outside.

Names of files, classes and speakers may hold any sign. Some end a program that draws them, move
the cursor of a terminal, or turn the direction of what follows.
"""

from __future__ import annotations

_TURNS = (range(0x202A, 0x202F), range(0x2066, 0x206A))
"""Marks that turn the direction of text could show a name as another one."""


def visible(text: str) -> str:
    """Return a text whose control signs are seen, such as ``␛`` for ESC.

    Line ends and tabs stay. Half of a surrogate pair, as in the name of a file that is no text, is
    written as the terminal writes it, ``\\udce9``; what turns the direction of text becomes a
    replacement sign.
    """
    return text if text.isprintable() else "".join(map(_seen, text))


def _seen(sign: str) -> str:
    code = ord(sign)
    if code < 32:
        return sign if sign in "\n\t" else chr(0x2400 + code)
    if 0xD800 <= code < 0xE000:
        return f"\\u{code:04x}"
    hidden = 127 <= code < 160
    return "\ufffd" if hidden or any(code in turn for turn in _TURNS) else sign
