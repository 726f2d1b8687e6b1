"""Letters between a hospital and the coordinator over Flower. The hospital calls out; nothing listens here."""
