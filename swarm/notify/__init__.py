"""Tells a person who is elsewhere what happened in a study: by a web address, by a command, or both.

`notices` says what is worth telling (pure), `forms` how a service wants it (pure), `address` keeps where it goes a
secret, `delivery` makes one bounded try, `notifier` does it all in a thread of its own and remembers what was told.
"""
