"""Text of strangers in our answers and log lines."""

MAX_SHOWN = 100


def shown(text: str) -> str:
    """Shorten a text and take out what is not printable."""
    return "".join(c for c in text[:MAX_SHOWN] if c.isprintable())
