"""BP4D-Spontaneous: 41 people in 8 tasks; 12 units coded as seen or not, 5 with intensity."""
