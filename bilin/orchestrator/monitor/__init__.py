"""The states of sweeps and trials, from the store: on any machine that sees it, whoever runs them."""
