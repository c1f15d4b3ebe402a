"""structkd: many monolingual sequence taggers distilled into one multilingual tagger."""

__version__ = "0.1.0"

__all__ = ["__version__"]
