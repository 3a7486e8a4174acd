"""What is seen of a server at work: logs, traces, errors, profiles. Nothing of it shows a row."""
