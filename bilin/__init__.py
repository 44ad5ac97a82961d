"""bilin: sweeps over recurrent architectures, from grid.yaml to a table you can query."""
