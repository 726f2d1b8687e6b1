"""One hospital: its data, its rules, and its side of the round."""
