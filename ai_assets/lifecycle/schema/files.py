"""What is told of an item whose file was not read, from the source to the quarantine."""

UNREAD = "_unread"
"""Column of raw rows that came from files: why a row has no item, null where it has one."""
NO_PATH = "no file is named"
NO_FILE = "its file does not exist"
OUTSIDE = "its path leads out of the folder"
LINKED = "its file is a link that leads out of the folder"
OTHER_KIND = "its file has not the suffix of its kind"
TOO_LARGE = "its file is larger than 64 MB"
UNREADABLE = "its file cannot be opened"
NOT_TEXT = "its file is not text in the declared encoding"
REASONS = (NO_PATH, NO_FILE, OUTSIDE, LINKED, OTHER_KIND, TOO_LARGE, UNREADABLE, NOT_TEXT)
MOST_BYTES = 64 * 2**20
SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    "text": (".txt",),
}
"""Suffixes of the files that are read, by the type of the column; in small letters."""
