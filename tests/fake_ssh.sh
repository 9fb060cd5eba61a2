#!/usr/bin/env bash
# Plays a login on another machine for mpirun: runs the command, all but the machine's name, here.
shift
exec bash -c "$*"
