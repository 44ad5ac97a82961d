"""Linear attention: a state that is a matrix for each head, to which keys write values and which queries read."""
