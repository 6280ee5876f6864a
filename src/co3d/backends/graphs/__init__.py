"""Step graphs in the forms that backends read."""
