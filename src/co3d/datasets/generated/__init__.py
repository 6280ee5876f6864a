"""Data sets made on the fly, and the pictures that they are made of."""
