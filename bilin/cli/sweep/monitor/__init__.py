"""The commands that look at sweeps: from the store alone, whoever runs them."""
