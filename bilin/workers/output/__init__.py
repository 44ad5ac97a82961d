"""What trials print, kept beside the store. Standard library only."""
