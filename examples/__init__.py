"""Study files and hospitals for the demo."""
