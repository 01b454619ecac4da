"""`python -m geometry_aware_pose COMMAND ...` is `geometry-aware-pose COMMAND ...`."""

from geometry_aware_pose.cli import main

if __name__ == "__main__":
    main()
