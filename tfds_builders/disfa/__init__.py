"""DISFA: 27 people who watch a film, filmed from the left; 12 units with intensity."""
