"""How a trial is trained: its state, its steps, its evaluations, and what of it is kept on disk."""
