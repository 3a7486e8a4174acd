"""What people read of a table: its columns in numbers and small pictures, over all rows."""
