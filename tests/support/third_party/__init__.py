"""Small networks of the structures that people train, one file per family."""
