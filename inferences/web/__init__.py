"""The pages of models and inferences: each view queries, and renders a template."""

from inferences.web.access import visible_inference, visible_model

__all__ = ["visible_inference", "visible_model"]
