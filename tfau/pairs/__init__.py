"""Teaches the network that compares a face with the same person's face at rest."""

ALL_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 24, 25, 26, 28, 45)
"""Units that the rendered faces show."""

MAIN_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 25, 26, 45)
"""Units of the mean that networks are compared by."""
