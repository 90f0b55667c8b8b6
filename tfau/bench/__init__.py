"""How fast tfau is here, against what it must keep up with: `python -m tfau.bench`."""
