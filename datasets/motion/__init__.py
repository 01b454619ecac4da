"""How a body moves: procedural motion, and clips of motion capture in captured/."""
