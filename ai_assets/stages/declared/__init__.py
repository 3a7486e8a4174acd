"""What a product's stages are. They name the functions that do the work; nothing computes here."""
