"""The pages of models and their inferences: each view asks, and hands on to a template."""

from inferences.web.access import visible_inference, visible_model

__all__ = ["visible_inference", "visible_model"]
