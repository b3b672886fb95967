"""Published checkpoints: opened safely, recognised, mapped, loaded strictly, converted."""
