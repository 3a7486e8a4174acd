"""What a partition's numbers mean: one cause, how severe, and the evidence in words."""
