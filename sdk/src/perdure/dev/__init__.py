"""`perdure dev`: the whole product on one machine, each part a process of its own, kept running.

Nothing of the server is imported here: its processes are started as commands and queried over HTTP.

    stack        the processes, their start and stop order, readiness   (start reading here)
    plan         their commands, environments and addresses
    key          the API key of the stack
    supervisor   keeps them running, restarts those that died, stops them in order
    child        one process: its start, and the description of its end
    bound        the launcher of a child, which makes it die with its supervisor
    state        the folder `.perdure/`: data, logs, key, connection
    lock         one stack per folder
    record       the running processes; ends leftovers of an earlier start
    identity     identifies the process of a recorded pid
    ports        free ports and taken ones
    probes       readiness of Temporal and the API
    errors       reasons why the stack cannot run
"""
