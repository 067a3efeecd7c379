"""What all pages share, and the middleware around them."""
