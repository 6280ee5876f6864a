"""The commands of the command line: a file per group of commands, each a Typer app."""
