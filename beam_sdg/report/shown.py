"""How numbers are written, the same wherever they are read."""

import math


def counted(number: int) -> str:
    """A whole number with commas; from a billion on, to three digits."""
    return f"{number:,}" if abs(number) < 1_000_000_000 else f"{number:.2e}"


def measured(number: float) -> str:
    """A measurement to about three digits: 0.0123, 1.23, 123, 12,300."""
    if number == 0 or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def share(part: float) -> str:
    """A share in per cent."""
    return f"{100 * part:.3g}%" if part >= 0.1 else f"{100 * part:.2g}%"


def dollars(amount: float) -> str:
    """US dollars: to the cent, or below that to two digits."""
    digits = 2 if amount >= 0.01 or amount <= 0 else 1 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"


def cut(text: str, most: int) -> str:
    """`text`, or as much of it as fits and how much does not."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"


def named(value: object) -> str:
    """A value of a column on one line; an empty one has a name, too."""
    return line(str(value)) or "(empty)"


def line(text: str) -> str:
    """`text` on one line, without anything that steers a terminal."""
    spaced = " ".join(text.split())
    return "".join(letter if letter.isprintable() else "�" for letter in spaced)
