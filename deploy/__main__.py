"""`python -m deploy`: the `consilium` command from the checkout."""

from deploy.cli import main

main()
