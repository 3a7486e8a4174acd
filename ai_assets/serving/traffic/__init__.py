"""Which bundle answers what: releases are followed, and several bundles answer side by side."""
