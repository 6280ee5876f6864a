"""What the command line offers: a file per group of commands, each a Typer app."""
