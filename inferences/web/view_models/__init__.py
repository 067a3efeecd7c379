"""View models: plain values for templates, made from stored inferences."""
