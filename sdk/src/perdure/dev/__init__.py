"""`perdure dev`: the whole product on one machine, each part a process of its own, kept running.

Nothing of the server is imported here: its parts are started as commands and spoken to over HTTP.

    stack        which processes there are, in which order, when they are ready   (start reading here)
    plan         their commands, environments and addresses
    key          the API key of the stack
    supervisor   keeps them running, starts what died again, stops them in order
    child        one process: how it is started, how its end reads
    bound        what a child runs first, so that it dies with its supervisor
    state        the folder `.perdure/`: data, logs, key, connection
    lock         one stack per folder
    record       which processes run; ends leftovers and no others
    identity     which process a recorded pid means
    ports        free ports and taken ones
    probes       is Temporal, is the API ready?
    errors       why the stack cannot run
"""
