"""A user's own data, by configuration alone: folders of pictures, tables of texts, sets of the hub, Python functions."""

from . import hub, image_folder, python_data, texts

__all__ = ["hub", "image_folder", "python_data", "texts"]
