"""Linear attention: in each head the state is a matrix; keys write values to it, and queries read it."""
