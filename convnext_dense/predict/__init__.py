"""From a trained model to an answer: loading, inputs, tiles, pictures, files."""
