"""Import of inferences from files of other systems, parsed into the bodies of creates."""
