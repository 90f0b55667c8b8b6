"""Action units on a small machine: numpy, OpenCV and LiteRT, no training framework."""
