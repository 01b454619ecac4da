"""Files of one person's motion for other programs: .npz, CSV, TRC, C3D and BVH. Knows no networks and no videos."""
