"""What the command-line tools share: options, fitting a config to the machine, checks, hooks."""
