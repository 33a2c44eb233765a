"""The examinations that come with timetrial: what each seeks, and who finds it.

course_pipeline    the breast-cancer pipeline of the ML tools course (document 002), step by step
course_frameworks  the course's table of PyTorch and TensorFlow, each row tried
course_hardware    the course's claims on hardware, each measured
licences           what the metadata of an installed package says of its licence
tools              what tools for experiments can do: the course's table of them
"""
