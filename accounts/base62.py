"""Base 62: letters and digits only, so that an id can be double-clicked, spoken and put into an address."""

import secrets

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def encode(number: int, length: int) -> str:
    """The number in base 62, padded with zeros to that length."""
    digits = []
    while number:
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits)).rjust(length, ALPHABET[0])


def random(length: int) -> str:
    """That many characters from the operating system's randomness; 5.95 bits each."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
