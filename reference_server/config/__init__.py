"""Configuration files: `maddy.conf` and `iroh-relay.toml`, read, checked against each other, and described.

`maddy_syntax` knows the language, `imports` what one file brings in, `maddy` what the directives mean, `check` what
must fit together, `files` the set of files that one server is started with, and `check_config` is the command.
"""
