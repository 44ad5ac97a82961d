"""What a worker takes from, and leaves on, the machine that it runs on. Standard library only."""
