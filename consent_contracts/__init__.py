"""What is allowed and what was done: the contracts, their Python client, the index and the auditor."""
