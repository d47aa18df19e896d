"""Imported by the server that workers are forked from, and by nobody else: the plugins that come with mmbench, so that
no worker has to import them, with a note of what their code was. A worker that finds another on the disk imports that
(`mmbench.sources`): the server of a notebook lives through many edits.

Other plugins are not imported here: what their code does to torch, say, would reach every worker.
"""

from contextlib import suppress

from mmbench import plugins

with suppress(Exception):  # what is wrong with a plugin the parent has said
    plugins.load(installed=())
