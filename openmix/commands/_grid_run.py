"""To be written."""

import argparse

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""


def main(arguments: argparse.Namespace) -> int:
    """Do it."""
    raise NotImplementedError
