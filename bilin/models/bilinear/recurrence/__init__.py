"""The one module of all bilinear tiers, fast, and its naive twin."""
