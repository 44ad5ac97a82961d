"""A sweep while it runs: the launch, the loop, and what it tells of itself."""
