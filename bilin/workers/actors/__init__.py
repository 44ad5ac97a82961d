"""The pool of Ray actors: one actor a worker, placed on the nodes that there are, asked how it is, and mourned."""
