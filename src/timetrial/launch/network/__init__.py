"""A network of one's own for each worker, on this machine: what `shaped` starts its workers in.

netns      namespaces of the kernel, entered without a name
wires      a run's namespaces with their TAP devices, cut and mended
delayline  the switch between the TAPs: rate, delay and loss of each link
ethernet   frames, as the switch reads them
"""
