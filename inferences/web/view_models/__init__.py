"""What pages show of stored inferences: plain values, made for templates."""
