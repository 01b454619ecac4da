"""Motion capture: BVH files, retargeted to our bodies."""
