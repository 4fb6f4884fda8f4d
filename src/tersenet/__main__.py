"""python -m tersenet: the command line."""

from tersenet.cli import main

main()
