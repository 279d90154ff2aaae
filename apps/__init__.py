"""What a person types: the `tinylesions` command."""
