"""Where jobs run. `local`: processes of this machine, one thread each."""
