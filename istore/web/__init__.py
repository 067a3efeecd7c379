"""What the pages of all apps share, and the middleware around them."""
