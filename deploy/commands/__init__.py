"""The commands of `consilium`, one module for each role. Imports inside, so that help is quick."""
