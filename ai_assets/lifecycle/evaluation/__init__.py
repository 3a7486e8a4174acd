"""How good a model is: metrics with intervals, slices and pictures."""
