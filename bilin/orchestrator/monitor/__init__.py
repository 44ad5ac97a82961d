"""How sweeps and trials stand, from the store: on any machine that sees it, whoever runs them."""
