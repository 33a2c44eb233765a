"""Experiment tools, each asked in an environment of its own what it can do: document 002's table.

tools.toml  the tools: what is installed, their modes without a network, their servers
registry    tools.toml -> records
records     what a probe tells: one JSON value per line
environment a virtual environment per tool, kept in the user's cache folder
examining   examine(tool): prepare, probe column by column, yield what was seen
judging     what was seen -> a value and its reason for each cell
probes/     programs that run inside a tool's environment and import that tool

Nothing here knows of suites or tables. What was seen is stored; a value is derived when it is
shown, so that another rule can be applied to old observations.
"""
