"""Faces rendered from a CC0 rig: every action unit intensity and mesh point is exact."""
