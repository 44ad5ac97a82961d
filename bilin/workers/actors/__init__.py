"""The pool of Ray actors: each worker is an actor."""
