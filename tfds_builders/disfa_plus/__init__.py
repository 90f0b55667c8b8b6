"""DISFA+: nine people of DISFA who act on demand; 12 units with intensity."""
