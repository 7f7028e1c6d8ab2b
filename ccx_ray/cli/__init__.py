"""What a terminal shows: arguments, exit codes, tables."""
