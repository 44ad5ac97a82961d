"""What a launch would run: what the grid wants, minus what is stored."""
