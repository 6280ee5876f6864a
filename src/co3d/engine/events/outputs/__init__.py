"""Outputs: where records of events are delivered."""
