"""CK+: 123 people who act from neutral to a peak; the peak coded in full, 327 with an emotion."""
