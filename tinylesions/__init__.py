"""Find tiny lesions in huge medical images: MONAI bundles, and what MONAI lacks to run them."""

__version__ = "0.1.0"
