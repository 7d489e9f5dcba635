"""The version, for records and `swarm --version`; the packaging reads it from here."""

VERSION = "0.1.0"
