"""What a product declares about its tables: the part of the declaration that data must meet."""
