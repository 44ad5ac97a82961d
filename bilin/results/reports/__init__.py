"""A page about sweeps that needs no network: its facts, its data, and the scripts and styles that show them."""
