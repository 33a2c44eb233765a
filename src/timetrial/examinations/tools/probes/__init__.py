"""Programs that run inside a tool's own environment, each importing that tool alone.

Before a program is started, this folder is copied to where the tool's interpreter finds it under
the same name (`examining`), and nothing else of timetrial goes along: what stands here uses the
standard library, NumPy, scikit-learn and the tool.

telling   the program's order, and what it tells: one JSON value per line
sealing   no network but loopback
training  the sweep: logistic regression on breast cancer over C and penalty
watching  a second process reads what the first one logs
serving   a tool's server on loopback: started, asked, ended
racing    searches by a tool beside random searches
looking   licence, and names that a tool does not have
with_*    one tool each: monitoring, organizing, tuning
"""
