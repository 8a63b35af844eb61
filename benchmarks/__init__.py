"""The line measured on data that nobody here wrote. Nothing of it is imported by the program."""
