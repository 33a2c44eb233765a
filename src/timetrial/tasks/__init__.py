"""Tasks: a folder each, the rules in `__init__`, an implementation per framework beside it.

What several tasks share (`networks`) is one folder that takes the task's rules as parameters.
"""
