"""A bundle as one folder for a small device: onnxruntime and numpy, nothing else."""
