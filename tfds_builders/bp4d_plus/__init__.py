"""BP4D+: 140 people; four of ten tasks coded, like BP4D."""
