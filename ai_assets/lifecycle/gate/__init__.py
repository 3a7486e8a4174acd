"""Whether a model may be released: declared limits, judged on the evaluation."""
