"""The coding agents that are installed here, each tried against a scripted model on loopback: no key, no network."""
