"""What happens to pictures and texts on their way: named, seeded, in five severities.

As Hendrycks and Dietterich (2019) do it: the same corruptions for whoever asks what a model
withstands and whoever asks whether drift is noticed.
"""

from ai_assets.lifecycle.corruptions.corrupt import SEVERITIES, corrupt, corruptions_of

__all__ = ["SEVERITIES", "corrupt", "corruptions_of"]
