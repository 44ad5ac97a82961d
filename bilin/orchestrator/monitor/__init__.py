"""How sweeps and trials stand: from the store alone, on any machine that sees it, whoever runs them."""
