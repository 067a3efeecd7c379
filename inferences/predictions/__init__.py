"""What an answer says: model types, and parsers of the forms that servers answer in."""
