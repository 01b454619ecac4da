"""Motion of bodies: procedural motion, and motion capture in captured/."""
