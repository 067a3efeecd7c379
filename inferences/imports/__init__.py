"""Files of inferences that come from anywhere, read as the bodies of creates."""
