"""Commitments to vectors of bounded integers whose sum can be checked without opening any of them."""

from .curve import POINT_BYTES, Q
from .generators import Generators
from .pedersen import Pedersen, check_points, generators_needed, random_scalar

__all__ = ["POINT_BYTES", "Q", "Generators", "Pedersen", "check_points", "generators_needed", "random_scalar"]
