"""Kubernetes quantities as numbers."""

from fractions import Fraction

_SUFFIXES = {"m": Fraction(1, 1000)}
_SUFFIXES |= {suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)}
_SUFFIXES |= {f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)}


def number(quantity: str) -> Fraction:
    """`1500m` -> 3/2, `1Ki` -> 1024."""
    digits = quantity.rstrip("kKMGTPEim")
    return Fraction(digits) * _SUFFIXES.get(quantity[len(digits) :], 1)
