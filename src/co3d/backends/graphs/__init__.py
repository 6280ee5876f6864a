"""Step graphs in the formats that backends read."""
