"""What a file of rows tells of itself: from data to a declaration that a person goes on with."""
