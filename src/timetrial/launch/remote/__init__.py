"""Workers on machines that are reached by a connection and share no files with this one.

hosts      the file that names such machines
link, pipe a connection: one request out, one answer back; over a pair of byte streams
far        what answers at the other end: its text is sent there, with that of frames
shipment, building  what is sent, and the environment built of it
arrival    makes a run that was sent that machine's own
elsewhere  makes the workers' places ready, over whatever link a launcher has
mirror, mirrored  the run directories brought back, and the job that keeps them so
"""
