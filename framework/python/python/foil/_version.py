"""The versions, for `foil --version`; a test compares them with the program's."""

FOIL = "0.1.0"
LIBTORCH = "2.11.0"
