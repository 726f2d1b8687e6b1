"""`consilium demo`: two real studies, one refusal and one audit, on one laptop."""
