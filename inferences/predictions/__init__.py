"""Parsing of answers: model types, and a parser for each form in which model servers answer."""
