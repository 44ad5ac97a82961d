"""Tables of cells: where each cell stands, and what is shown of it."""
