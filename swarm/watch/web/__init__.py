"""The live page: the same frame as in a terminal, the figures and tables of the report, and a person's word back.

On loopback only, for whoever has the address with its token. `page` makes HTML of values, `hub` looks at the study for
all who watch, `guard` refuses whom the page is not for, `server` puts them together.
"""
