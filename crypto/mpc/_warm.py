"""Loaded once by the server that jobs are forked from (`process`): torch, and CrypTen with its parts replaced."""

from crypto.mpc import job, seam

__all__ = ["job"]

seam.load()
