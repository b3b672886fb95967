"""How a command line becomes a run: options, the config fitted to data and machine, checks, launch."""
