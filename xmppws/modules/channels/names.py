"""Names of channels, and the rooms that they are.

A name has 2 to 12 characters: letters and digits of ASCII, CJK ideographs from U+4E00 to U+9FA5, space, `_` and `-`. It
becomes the localpart of a room's address, where case does not count and spaces cannot be (RFC 7622 section 3.3): a
capital letter is written as `^` and its small one, a space as `+`. Neither stands in a name, so two names never are one
room: "Team One" is `^team+^one`, "team one" is `team+one`.
"""

from __future__ import annotations

import re
from typing import Final

RULE: Final = "2 to 12 letters, digits, Chinese characters, spaces, '_' or '-'"

_NAME: Final = re.compile("[\u4e00-\u9fa5a-zA-Z0-9 _-]{2,12}").fullmatch
_CAPITAL: Final = re.compile("[A-Z]")


def is_name(text: str) -> bool:
    """Tell whether a text can be the name of a channel."""
    return _NAME(text) is not None


def to_localpart(name: str) -> str:
    """Return the localpart of a channel's room."""
    return _CAPITAL.sub(lambda found: "^" + found[0].lower(), name).replace(" ", "+")
