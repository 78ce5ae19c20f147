"""A schema beside the live one: made with an account that reaches nothing else, proven there, then swapped in."""
