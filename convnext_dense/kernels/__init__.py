"""The same numbers as the plain layers, faster. Torch alone: no mmengine, no registries, no models."""
