"""What a run needs beside the model: rates by depth, resuming, checks, hooks. Usable without our models."""
