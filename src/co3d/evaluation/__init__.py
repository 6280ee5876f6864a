"""Accuracy of networks on data sets, as clips and as streams."""
